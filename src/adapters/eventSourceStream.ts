import { ConnectionError } from '../errors'

/** What is used of an EventSource. Both the native one and the `eventsource` package fit. */
export interface EventSourceLike {
  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void
  close(): void
}

export interface EventSourceSetup {
  readonly withCredentials: boolean
  /** Sends the connection's `headers`, and repeats a 401 with fresh ones. For implementations that take a `fetch`. */
  readonly fetch: (url: string | URL, init: RequestInit) => Promise<Response>
}
export type EventSourceFactory = (url: string, setup: EventSourceSetup) => EventSourceLike | Promise<EventSourceLike>

export interface StreamHandlers {
  opened(): void
  /** The data of the frame named `welcome`. */
  welcomed(data: string): void
  /** The data of an unnamed frame. */
  received(data: string): void
  failed(error: ConnectionError): void
}

/** Native where it can be; the `eventsource` package where there is none, or where request headers are needed. */
export const defaultEventSource =
  (needsHeaders: boolean): EventSourceFactory =>
  (url, setup) => {
    const Native = globalThis.EventSource
    if (Native && !needsHeaders) return new Native(url, { withCredentials: setup.withCredentials })
    return import('eventsource').then(
      ({ EventSource }) =>
        new EventSource(url, {
          withCredentials: setup.withCredentials,
          fetch: (input, init) => setup.fetch(input, init as RequestInit),
        }),
      (cause) => {
        const why = 'createEventSource: no EventSource here, and the package `eventsource` cannot be loaded'
        throw new ConnectionError('invalid-option', why, { cause })
      },
    )
  }

/**
 * One EventSource, used once. It is closed at its first error: its own retry would race the machine's, with the pacing
 * of the browser. Silent after the returned function was called.
 */
export function openEventSource(
  factory: EventSourceFactory,
  url: string,
  setup: EventSourceSetup,
  handlers: StreamHandlers,
): () => void {
  let source: EventSourceLike | undefined
  let closed = false

  const close = () => {
    closed = true
    source?.close()
  }
  const fail = (error: ConnectionError) => {
    if (closed) return
    close()
    handlers.failed(error)
  }
  const bind = (created: EventSourceLike) => {
    source = created
    if (closed) return created.close()
    const listen = (type: string, listener: (event: MessageEvent<string>) => void) =>
      created.addEventListener(type, (event) => {
        if (!closed) listener(event)
      })
    listen('open', () => handlers.opened())
    listen('welcome', ({ data }) => handlers.welcomed(data))
    listen('message', ({ data }) => handlers.received(data))
    listen('error', (event) => fail(toStreamError(event)))
  }

  try {
    const created = factory(url, setup)
    if ('then' in created) created.then(bind, (cause) => fail(toStreamError({ cause })))
    else bind(created)
  } catch (cause) {
    fail(toStreamError({ cause }))
  }
  return close
}

// The native EventSource tells nothing; the `eventsource` package puts the HTTP status into `code`.
function toStreamError(event: object) {
  const { code, message, cause } = event as { code?: number; message?: string; cause?: unknown }
  if (cause instanceof ConnectionError) return cause
  if (code === 401) return new ConnectionError('unauthorized', 'the stream was answered 401', { status: 401 })
  const why = message ?? (cause instanceof Error ? cause.message : 'no reason is known')
  return new ConnectionError('stream-failed', `the stream failed: ${why}`, { retryable: true, status: code, cause })
}
