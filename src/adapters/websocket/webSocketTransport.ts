import { ConnectionError } from '../../errors'
import { createUpstream } from '../fetchUpstream'
import { expectStream } from '../streamResponse'
import type { Transport } from '../transport'
import { toStreamError } from './frames'
import { type Stream, StreamSocket, type WebSocketLike } from './streamSocket'

export type WebSocketClass = new (url: string, protocols?: never[], options?: object) => WebSocketLike

export interface WebSocketTransportOptions {
  /**
   * Default: `globalThis.WebSocket` where there is one, else the `ws` package, loaded on demand.
   */
  readonly WebSocket?: WebSocketClass
  /** Where the socket is, under `url`. Default: `socket`. */
  readonly path?: string
}

const MAX_IN_FLIGHT = 64

/**
 * One WebSocket, down and up. To all that is above it is a `fetch`: a socket is a request that its
 * welcome answers with 200, and a frame one that its `ack` answers. So headers, repeats after a
 * 401, timeouts and receipts are the very code that HTTP goes through.
 */
export const webSocketTransport =
  ({ WebSocket, path = 'socket' }: WebSocketTransportOptions = {}): Transport =>
  (setup) => {
    let last: StreamSocket | undefined
    let stream: Stream

    const { streamFetch, post } = createUpstream({
      ...setup,
      fetch: (async (url: string, { method, headers, body, signal }: RequestInit) => {
        if (method !== 'POST') return connect(headers as Headers, signal as AbortSignal)
        if (last?.isOpen) return last.exchange(url.slice(setup.url.length + 1), headers as Headers, body as string)
        last?.check()
        throw new Error('no socket is open')
      }) as typeof fetch,
    })

    async function connect(headers: Headers, signal: AbortSignal): Promise<Response> {
      const Socket = WebSocket ?? globalThis.WebSocket ?? (await loadWs())
      if (signal.aborted) throw signal.reason
      // [ws] Its default is 100 MiB. A platform's own class has bounds of its own, and React
      // Native's warns of options that it does not know.
      const maxPayload = setup.inbound?.maxBytes
      const url = `${setup.url.replace(/^http/, 'ws')}/${path}`
      const socket = Socket === globalThis.WebSocket ? new Socket(url) : new Socket(url, [], { maxPayload })
      last = new StreamSocket(socket, stream, setup.clock)
      return last.connect(headers, signal)
    }

    return {
      post,
      postsOverStream: true,
      check: () => last?.check(),
      open(handlers) {
        const abort = new AbortController()
        const fail = (error: ConnectionError) => abort.signal.aborted || handlers.error(error)
        stream = { handlers, stage: 'opening' }
        const { url, clock } = setup
        streamFetch(url, { signal: abort.signal })
          .then((response) => expectStream(response, url, clock.now()))
          .catch((cause) => fail(cause instanceof ConnectionError ? cause : toStreamError(0, '', cause)))
        return () => abort.abort()
      },
      beacon: (endpoint, body) => last?.isOpen === true && last.tell(endpoint, body),
      maxInFlight: (features) => (features.includes('receipts') ? MAX_IN_FLIGHT : 1),
    }
  }

const loadWs = () =>
  // For Node alone: `browser` in package.json tells bundlers for browsers and React Native not to
  // look for it.
  import(/* webpackIgnore: true */ 'ws').then(
    ({ WebSocket }) => WebSocket,
    (cause) => {
      throw new ConnectionError('invalid-option', 'WebSocket: none here, nor the ws package', { cause })
    },
  )
