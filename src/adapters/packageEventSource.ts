import { EventSource, type EventSourceInit } from 'eventsource'
import { ConnectionError } from '../errors'
import type { EventSourceLike, EventSourceSetup } from './eventSource'
import { MAX_INBOUND_BYTES } from './fetchUpstream'
import { completeLines, expectStream } from './streamResponse'

/**
 * The EventSource of the `eventsource` package, with what it hides. It tells the status of a
 * refusal, but not what else the answer says; it is silent about a `fetch` that rejects with an
 * AbortError; it compares the media type by case; and it needs `completeLines`.
 */
export function packageEventSource(url: string, setup: EventSourceSetup): EventSourceLike {
  const fail = (cause: unknown): never => {
    const error =
      cause instanceof ConnectionError ? cause : new ConnectionError('stream-failed', String(cause), { cause })
    source.dispatchEvent(Object.assign(new Event('error'), { cause: error }))
    throw cause
  }
  const fetch = async (...request: Parameters<typeof setup.fetch>) => {
    try {
      const response = await setup.fetch(...request)
      await expectStream(response, url, (setup.clock ?? Date).now())
      const complete = completeLines(setup.maxBytes ?? MAX_INBOUND_BYTES)
      return toLowerCase(
        withLines(response, (bytes) => {
          try {
            return complete(bytes)
          } catch (cause) {
            return fail(cause)
          }
        }),
      )
    } catch (cause) {
      return fail(cause)
    }
  }
  const source = new EventSource(url, { ...setup, fetch } as EventSourceInit)
  return source
}

function toLowerCase(response: Response): Response {
  const headers = new Headers(response.headers)
  headers.set('content-type', 'text/event-stream')
  return Object.defineProperty(response, 'headers', { value: headers })
}

function withLines(response: Response, complete: (bytes: Uint8Array) => Uint8Array): Response {
  const { body } = response
  if (!body) return response
  const getReader = body.getReader.bind(body)
  const getLineReader = () => {
    const reader = getReader()
    const read = reader.read.bind(reader)
    return Object.assign(reader, {
      read: () =>
        read().then((chunk) => {
          if (chunk.value) chunk.value = complete(chunk.value) as typeof chunk.value
          return chunk
        }),
    })
  }
  Object.assign(body, { getReader: getLineReader })
  return response
}
