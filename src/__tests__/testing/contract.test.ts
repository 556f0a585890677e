import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { EventSource } from 'eventsource'
import {
  type Carrier,
  defaultEventSource,
  type EventSourceFactory,
  eventSourceTransport,
  fetchStreamTransport,
  type Transport,
} from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { createWebSocketGateway } from 'holdline/server'
import { type ContractPromise, type Serve, transportContract } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { listen } from '../../../tools/shared/listen'
import { packageEventSource } from '../../adapters/packageEventSource'
import { startTcpProxy } from '../support/tcpProxy'

/** The last EventSource of a connection, to be closed behind its back. */
function withEventSource(transport: Transport, create: EventSourceFactory) {
  let last: { close(): void } | undefined
  const createEventSource: EventSourceFactory = async (url, setup) => {
    last = await create(url, setup)
    return last as Awaited<ReturnType<EventSourceFactory>>
  }
  return { transport, options: { createEventSource }, hush: () => last?.close() }
}

/** As that of a browser: no word about why it failed, and its own `fetch`. */
const nativeLike: EventSourceFactory = (url) => {
  const source = packageEventSource(url, { withCredentials: false, fetch }) as EventSource
  return {
    addEventListener: (type, listener) =>
      source.addEventListener(type, (event) => listener(type === 'error' ? {} : (event as object))),
    close: () => source.close(),
    get readyState() {
      return source.readyState
    },
  }
}

const overHttp =
  (transport: Transport, more: () => object = () => ({})): Serve =>
  async (fetch) => {
    const host = await listen(fetch)
    return { url: host.url, transport, cut: host.destroySockets, close: host.close, ...more() }
  }

const overWebSocket: Serve = async (fetch) => {
  const gateway = createWebSocketGateway({ fetch })
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const base = `http://127.0.0.1:${port}`
  server.on('connection', (socket, { url = '', headers }) =>
    gateway.accept(socket as never, new Request(base + url, { headers: { origin: headers.origin ?? base } })),
  )
  const cut = () => {
    for (const socket of server.clients) socket.terminate()
  }
  let hush = () => {}
  class Hushed extends WebSocket {
    constructor(url: string) {
      super(url)
      hush = () => {
        for (const type of ['error', 'close']) this.removeAllListeners(type)
        this.on('error', () => {})
        this.terminate()
      }
    }
  }
  return {
    url: `${base}/api/chat`,
    transport: webSocketTransport({ WebSocket: Hushed as never }),
    cut,
    hush: () => hush(),
    async close() {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** The same, through a line that cuts everything into pieces and lets some of them wait. */
const roughly =
  (serve: Serve): Serve =>
  async (fetch) => {
    const host = await serve(fetch)
    const url = new URL(host.url)
    const proxy = await startTcpProxy(Number(url.port), 7)
    url.port = String(proxy.port)
    return {
      ...host,
      url: url.href,
      cut: proxy.cut,
      async close() {
        await proxy.close()
        await host.close()
      },
    }
  }

/** What each transport cannot tell; docs/transports.md says so. */
const TRANSPORTS: readonly (readonly [name: string, serve: Serve, cannot: readonly ContractPromise[]])[] = [
  [
    'eventSourceTransport',
    overHttp(eventSourceTransport, () => withEventSource(eventSourceTransport, defaultEventSource(true))),
    ['comments'],
  ],
  [
    'eventSourceTransport, with an EventSource like a browser’s',
    overHttp(eventSourceTransport, () => withEventSource(eventSourceTransport, nativeLike)),
    ['stream-retry-after', 'comments'],
  ],
  ['fetchStreamTransport', overHttp(fetchStreamTransport), ['silent-ends']],
  ['webSocketTransport', overWebSocket, ['comments', 'line-ends']],
]
const ROUGHLY = TRANSPORTS.map(([name, serve, cannot]) => [`${name}, on a rough line`, roughly(serve), cannot] as const)

// Each case has a host of its own, and most of its time is waiting.
describe.concurrent.each([...TRANSPORTS, ...ROUGHLY])('the contract over %s', (_, serve, cannot) => {
  test.each(transportContract.filter(({ needs }) => !needs || !cannot.includes(needs)))('$name', ({ run }) =>
    run(serve),
  )
})

test.concurrent.each(TRANSPORTS)(
  'what %s cannot tell, it really cannot: the case fails over it',
  async (_, serve, cannot) => {
    for (const { name, needs, run } of transportContract) {
      if (!needs || !cannot.includes(needs)) continue
      await expect(run(serve), name).rejects.toThrow()
    }
  },
)

const brokenBy =
  (change: (carrier: Carrier) => Partial<Carrier>): Transport =>
  (setup) => {
    const carrier = fetchStreamTransport(setup)
    return { ...carrier, ...change(carrier) }
  }

test.concurrent.each([
  [
    'leaves streams behind',
    'goodbye',
    brokenBy(({ open }) => ({
      open(handlers) {
        open(handlers)
        return () => {}
      },
    })),
  ],
  [
    'forgets the id of a message',
    'C28',
    brokenBy(({ post }) => ({
      post: (endpoint, body, abort, options) => post(endpoint, body, abort, { ...options, idempotencyKey: undefined }),
    })),
  ],
  [
    'takes a refusal for success',
    'C58',
    brokenBy(({ post }) => ({ post: (...given) => post(...given).catch(() => null) })),
  ],
  [
    'takes a redirect for success',
    'C63',
    brokenBy(({ post }) => ({
      post: (...given) => post(...given).catch((error) => (error.code === 'redirected' ? null : Promise.reject(error))),
    })),
  ],
  [
    'lets the second post overtake the first',
    'I4',
    brokenBy(({ post }) => ({ maxInFlight: () => 9, post: late(post) })),
  ],
] as const)(
  'a transport that %s is found',
  async (_, name, transport) => {
    const contractCase = transportContract.find((candidate) => candidate.name.startsWith(name))
    await expect(contractCase?.run(overHttp(transport))).rejects.toThrow()
  },
  60_000,
)

/** The first post of a message is said to have left, and leaves last. */
function late(post: Carrier['post']): Carrier['post'] {
  let posts = 0
  return async (endpoint, body, abort, options) => {
    if (!/^(send|batch)$/.test(endpoint) || posts++) return post(endpoint, body, abort, options)
    options?.onStart?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
    return post(endpoint, body, abort, { ...options, onStart: () => {} })
  }
}
