import { createParser } from 'eventsource-parser'
import { ConnectionError } from '../errors'
import type { StreamHandlers } from './eventSource'
import { createUpstream, MAX_INBOUND_BYTES, type Upstream } from './fetchUpstream'
import { completeLines, expectStream } from './streamResponse'
import type { Transport, TransportSetup } from './transport'

/**
 * Server-Sent Events read with `fetch`, in browsers, workers, Node, Deno and Bun. It sees what an
 * EventSource hides: the status (401 stops the line; 429 and 503 with `Retry-After` make it wait),
 * comments as signs of life; and it sends `headers` everywhere.
 */
export const fetchStreamTransport: Transport = (setup) => {
  const { streamFetch, ...upstream } = createUpstream(setup)
  return { ...upstream, open: (handlers) => openFetchStream(setup, streamFetch, handlers) }
}

function openFetchStream(setup: TransportSetup, fetch: Upstream['streamFetch'], handlers: StreamHandlers): () => void {
  const url = `${setup.url}/events`
  const abort = new AbortController()
  const { signal } = abort
  // A chunk may hold frames that come after the one which closed the stream.
  const parser = createParser({
    onEvent({ event = 'message', data }) {
      if (signal.aborted) return
      if (event === 'welcome' || event === 'message') handlers[event](data)
      else handlers.sign()
    },
    onComment: () => signal.aborted || handlers.sign(),
  })

  async function read() {
    // [spec] HTML, server-sent events: what an EventSource asks for.
    const response = await fetch(url, { headers: { Accept: 'text/event-stream' }, cache: 'no-store', signal })
    await expectStream(response, url, setup.clock.now())
    if (signal.aborted) return
    const { body } = response
    if (!body) throw new ConnectionError('stream-failed', 'this fetch gives no body to read: give one that streams')
    handlers.open()
    const reader = body.getReader()
    // Not every `fetch` that an app brings along knows signals.
    signal.addEventListener('abort', () => void reader.cancel().catch(() => {}))
    const decoder = new TextDecoder()
    const complete = completeLines(setup.inbound?.maxBytes ?? MAX_INBOUND_BYTES)
    for (;;) {
      const { done, value } = await reader.read()
      if (done) throw new ConnectionError('stream-failed', 'the stream ended')
      parser.feed(decoder.decode(complete(value), { stream: true }))
    }
  }

  read().catch((cause: unknown) => {
    if (signal.aborted) return
    abort.abort()
    handlers.error(
      cause instanceof ConnectionError ? cause : new ConnectionError('stream-failed', 'the stream was cut', { cause }),
    )
  })
  return () => abort.abort()
}
