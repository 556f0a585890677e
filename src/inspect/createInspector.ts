import type { InspectionEvent } from 'xstate'
import { ConnectionError } from '../errors'
import { type InspectorEvent, redact } from './redact'

/** Takes what the inspector tells, to wherever it is wanted. */
export interface InspectorAdapter {
  start?(): void
  stop?(): void
  send(event: InspectorEvent): void
}

/** An `<iframe>`. In words of its own, for programs without the types of the DOM. */
export interface FrameLike {
  src: string
  readonly contentWindow: unknown
}
/** A browser's `window`. */
export interface WindowLike {
  open(url: string): unknown
}

export interface InspectorOptions {
  /**
   * `ws://…` and `wss://…`: where a WebSocket server takes the events. Anything else is a page, to be opened in a window or in
   * `iframe`. Default: Stately's page where there is a window, else `ws://localhost:8080`.
   */
  readonly url?: string
  /** Where to show the page. Default: a window of its own, which the browser may want to see asked for in a click. */
  readonly iframe?: FrameLike
  /** From where to open the page. Default: `globalThis.window`. */
  readonly window?: WindowLike
  /** Takes the events instead of all these. `@statelyai/inspect` is not needed then. */
  readonly adapter?: InspectorAdapter
  /**
   * Told at most once, when the inspector cannot go on, and so has stopped: `@statelyai/inspect` is not installed or the window was blocked
   * (`invalid-option`), or the adapter threw (`listener-failed`). Default: `console.warn`.
   */
  readonly onError?: (error: ConnectionError) => void
}

/** Safe to destructure. */
export interface Inspector {
  /** The `inspect` option of `createConnection`, and of any `createActor` of XState. Never throws. */
  readonly inspect: (event: InspectionEvent) => void
  /** The end: nothing is told any more, and neither a listener, a socket nor a timer is left. */
  readonly stop: () => void
}

/** Events that are kept until somebody listens; beyond that the oldest ones go. */
const MAX_WAITING = 1_000
/** ms until the next try to reach a WebSocket server. */
const RETRY_DELAY = 5_000

/**
 * Shows the machines in the Stately inspector: states, event types and timings leave the process, what the app and its
 * users say does not. docs/inspect.md has the list. `@statelyai/inspect` is loaded by this call.
 *
 * @throws {ConnectionError} `invalid-option`: `url` is a page, and there is no window.
 */
export function createInspector(options: InspectorOptions = {}): Inspector {
  const { onError = (error: ConnectionError) => console.warn('holdline: the inspector has stopped', error) } = options
  const ending = new AbortController()
  let waiting: InspectorEvent[] = []
  let adapter: InspectorAdapter | undefined

  /** An inspector that throws stops the machine that it looks at, and one that rejects the process. */
  const attempt = (step: () => unknown) => run(step, fail)

  function fail(cause: unknown) {
    if (ending.signal.aborted) return
    stop()
    const isKnown = cause instanceof ConnectionError
    const error = isKnown ? cause : new ConnectionError('listener-failed', 'the inspector threw', { cause })
    run(
      () => onError(error),
      (late) => console.warn('holdline: onError of the inspector threw', late),
    )
  }

  function use(loaded: InspectorAdapter) {
    if (ending.signal.aborted) return
    adapter = loaded
    attempt(() => loaded.start?.())
    for (const event of waiting) if (!ending.signal.aborted) attempt(() => loaded.send(event))
    waiting = []
  }

  function stop() {
    if (ending.signal.aborted) return
    waiting = []
    ending.abort()
    // It is over anyway.
    run(
      () => adapter?.stop?.(),
      () => {},
    )
  }

  if (options.adapter) use(options.adapter)
  else load(options, ending.signal).then(use, fail)

  return {
    inspect(inspection) {
      if (ending.signal.aborted) return
      attempt(() => {
        const event = redact(inspection)
        if (!event) return undefined
        if (adapter) return adapter.send(event)
        if (waiting.push(event) > MAX_WAITING) waiting.shift()
        return undefined
      })
    },
    stop,
  }
}

/** What it throws goes to `fail`, also if it does so by a promise. */
function run(step: () => unknown, fail: (cause: unknown) => void) {
  try {
    const late = step() as Promise<unknown> | undefined
    late?.catch?.(fail)
  } catch (cause) {
    fail(cause)
  }
}

/** What is sent is made of plain data already. */
const AS_IT_IS = {
  autoStart: false,
  maxDeferredEvents: MAX_WAITING,
  serialize: <Event>(event: Event) => event,
}

function load(options: InspectorOptions, signal: AbortSignal): Promise<InspectorAdapter> {
  const page = (options.window as Window | undefined) ?? globalThis.window
  const { url = page ? undefined : 'ws://localhost:8080' } = options
  const isSocket = /^wss?:/.test(url ?? '')
  if (!isSocket && !page) throw new ConnectionError('invalid-option', 'url: there is no window to open a page in')
  return import('@statelyai/inspect').then(
    ({ createBrowserInspector, createWebSocketInspector }) => {
      if (url !== undefined && isSocket) {
        return webSocketAdapter(createWebSocketInspector({ ...AS_IT_IS, url }).adapter as unknown as SocketAdapter)
      }
      const iframe = options.iframe as HTMLIFrameElement | undefined
      const { adapter } = createBrowserInspector({
        ...AS_IT_IS,
        ...(url !== undefined && { url }),
        window: lent(page, signal),
        iframe: iframe ? lent(iframe, signal) : null,
      })
      return {
        start() {
          adapter.start()
          if (iframe || adapter.targetWindow) return
          throw new ConnectionError(
            'invalid-option',
            'the window was blocked: ask for it in a click, or give an iframe',
          )
        },
        stop: () => adapter.stop(),
        send: (event) => adapter.send(event as never),
      }
    },
    (cause) => {
      throw new ConnectionError('invalid-option', 'createInspector: npm install @statelyai/inspect', { cause })
    },
  )
}

/** The package never takes a listener back: these go with the signal. */
const lent = <Target extends Window | HTMLIFrameElement>(target: Target, signal: AbortSignal): Target =>
  new Proxy(target, {
    get(_, key) {
      if (key === 'addEventListener') {
        return (type: string, listener: EventListener) => target.addEventListener(type, listener, { signal })
      }
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

/** With the private part of the package's adapter that has to be known in order to end it. */
interface SocketAdapter extends Required<Omit<InspectorAdapter, 'send'>> {
  send(event: unknown): void
  readonly ws: WebSocket & { terminate?(): void }
}

/** The package tries again 5 s after an error, by a timer that nothing stops, and after a close never. */
function webSocketAdapter(theirs: SocketAdapter): InspectorAdapter {
  let retry: ReturnType<typeof setTimeout>
  function start() {
    theirs.start()
    const { ws } = theirs
    const { onclose } = ws
    // A close follows.
    ws.onerror = () => {}
    ws.onclose = (event) => {
      onclose?.call(ws, event)
      retry = setTimeout(start, RETRY_DELAY)
    }
  }
  return {
    start,
    stop() {
      clearTimeout(retry)
      theirs.ws.onclose = null
      // Before it is closed in order: `ws` would wait for the server's goodbye, up to 30 s.
      theirs.ws.terminate?.()
      theirs.stop()
    },
    send: (event) => theirs.send(event),
  }
}
