import { ConnectionError } from '../errors'
import type { EventSourceFactory, EventSourceLike, EventSourceSetup, StreamEvent, StreamHandlers } from './eventSource'
import { toRefusal } from './streamRefusal'

/**
 * Native where it can be; the `eventsource` package where there is none, or where request headers
 * are needed.
 */
export const defaultEventSource =
  (needsHeaders: boolean): EventSourceFactory =>
  (url, setup) => {
    const Native = globalThis.EventSource
    return Native && !needsHeaders
      ? new Native(url, setup)
      : import('./packageEventSource')
          .then(({ packageEventSource }) => packageEventSource(url, setup))
          // A bundler's stub of a missing package may fail when it is used, and not when it is
          // imported.
          .catch((cause) => {
            throw new ConnectionError('invalid-option', 'createEventSource: none here, nor the eventsource package', {
              cause,
            })
          })
  }

/** [spec] HTML: the `readyState` of an EventSource that is over. */
const CLOSED = 2

/** One EventSource. */
export interface EventSourceStream {
  /** Silent from now on. */
  close(): void
  /**
   * Tells the error that it did not tell: after a navigation that stays on the page an EventSource
   * may be over without one.
   */
  check(): unknown
}

/**
 * | stage | a frame | an error |
 * | --- | --- | --- |
 * | `opening`, `open` | from the origin of the URL: is handed on → `ours`; from another one: the stream fails as redirected | is told, as a stream that did not open, or that was cut |
 * | `ours` | is handed on: one frame speaks for all of its stream | is told, as a stream that was cut |
 * | `closed` | is dropped | is dropped |
 */
type Stage = 'opening' | 'open' | 'ours' | 'closed'

/**
 * One EventSource, used once. It is closed at its first error: its own retry would race the
 * machine's, with the pacing of the browser.
 */
export function openEventSource(
  factory: EventSourceFactory,
  url: string,
  setup: EventSourceSetup,
  handlers: StreamHandlers,
): EventSourceStream {
  let source: EventSourceLike | undefined
  let stage: Stage = 'opening'

  const close = () => {
    stage = 'closed'
    source?.close()
  }
  const fail = (event: StreamEvent) => {
    if (stage === 'closed') return
    const error = toStreamError(event, stage)
    close()
    handlers.error(error)
  }
  const hear = (type: 'welcome' | 'message', event: StreamEvent) => {
    const { origin, data = '' } = event
    if (origin && originOf(origin) !== originOf(url)) return fail({ message: `redirected to ${origin}` })
    stage = 'ours'
    handlers[type](data)
  }
  const open = async () => {
    try {
      const created = factory(url, setup)
      source = 'then' in created ? await created : created
      if (stage === 'closed') return source.close()
      for (const type of ['open', 'welcome'] as const) {
        source.addEventListener(type, (event) => {
          try {
            if (stage === 'closed') return
            if (stage === 'opening') stage = 'open'
            if (type === 'open') handlers.open()
            else hear(type, event)
          } catch (cause) {
            fail({ cause })
          }
        })
      }
      // Without a `try`: it would cost a twentieth of the throughput, and the data plane catches
      // what an app throws.
      source.addEventListener('message', (event) => {
        if (stage === 'ours') handlers.message(event.data ?? '')
        else if (stage !== 'closed') hear('message', event)
      })
      source.addEventListener('error', fail)
    } catch (cause) {
      fail({ cause })
    }
  }
  void open()
  return {
    close,
    check: () => source?.readyState === CLOSED && fail({}),
  }
}

const NOT_OPENED = 'the stream did not open: no login, no server, another `url`, or CORS'

/** Deno tells the whole URL in an event's `origin`. */
const originOf = (url: string) => /^\w+:\/\/[^/]+/.exec(url)?.[0]

// The native EventSource tells nothing; the `eventsource` package puts the HTTP status into `code`.
function toStreamError({ code, cause, message }: StreamEvent, stage: Stage) {
  if (cause instanceof ConnectionError) return cause
  const why = message ?? (cause ? String(cause) : stage === 'opening' ? NOT_OPENED : 'the stream was cut')
  return typeof code === 'number' ? toRefusal(code) : new ConnectionError('stream-failed', why, { cause })
}
