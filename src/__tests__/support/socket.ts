import { type ConnectionOptions, createConnection, type Feature } from 'holdline'
import { type WebSocketEvent, type WebSocketLike, webSocketTransport } from 'holdline/adapters/websocket'
import { createClock, settle } from './fakes'

/** A WebSocket whose other end is the test. */
export class FakeSocket implements WebSocketLike {
  readyState = 0
  readonly sent: string[] = []
  private readonly listeners: [type: string, listener: (event: WebSocketEvent) => void][] = []
  constructor(readonly url: string) {}

  addEventListener(type: string, listener: (event: WebSocketEvent) => void) {
    this.listeners.push([type, listener])
  }
  send(data: string) {
    this.sent.push(data)
  }
  close() {
    this.readyState = 2
  }

  /** As a WebSocket would, and also after `close()`: late events are part of life. */
  dispatch(type: string, event: Partial<WebSocketEvent> = {}) {
    for (const [of, listener] of this.listeners) if (of === type) listener({ type, ...event })
  }
  opens() {
    if (!this.isClosed) this.readyState = 1
    this.dispatch('open')
  }
  says(frame: unknown) {
    this.dispatch('message', { data: typeof frame === 'object' ? JSON.stringify(frame) : frame })
  }
  welcomes(features: readonly Feature[], connectionId = 'c1', more: object = {}) {
    this.says({ type: 'welcome', protocolVersion: 2, connectionId, features, ...more })
  }
  acks(id: unknown, answer: object = { status: 200, receipt: { ok: true } }) {
    this.says({ type: 'ack', id, ...answer })
  }
  shuts(code = 1006, reason = '') {
    this.readyState = 3
    this.dispatch('close', { code, reason })
  }

  get isClosed() {
    return this.readyState > 1
  }
  get frames(): readonly Record<string, unknown>[] {
    return this.sent.map((data) => JSON.parse(data))
  }
  get hellos() {
    return this.frames.filter(({ type }) => type === 'hello')
  }
  to(endpoint: string) {
    return this.frames.filter((frame) => frame.endpoint === endpoint)
  }
  /** The ids of the frames to an endpoint. */
  ids(endpoint: string) {
    return this.to(endpoint).map(({ id }) => id)
  }
}

/** Sockets in the test's hands. */
export function fakeSockets() {
  const sockets: FakeSocket[] = []
  class Made extends FakeSocket {
    constructor(url: string) {
      super(url)
      sockets.push(this)
    }
  }
  return { sockets, Made }
}

/** A real connection over fake sockets, in virtual time. */
export function createSocketWorld(options: Partial<ConnectionOptions> = {}) {
  const clock = createClock()
  const { sockets, Made } = fakeSockets()
  const log: string[] = []
  const errors: string[] = []
  const received: Record<string, unknown>[] = []
  const connection = createConnection({
    url: 'http://test/api/chat',
    transport: webSocketTransport({ WebSocket: Made }),
    clock,
    random: () => 0.5,
    pageLifecycle: false,
    ...options,
  })
  connection.on('opened', () => log.push('opened'))
  connection.on('closed', ({ reason }) => log.push(`closed ${reason}`))
  connection.on('stopped', ({ error }) => log.push(`stopped ${error.code}`))
  connection.on('refused', ({ event }) => log.push(`rejected ${event}`))
  connection.on('error', ({ error }) => errors.push(error.code))
  connection.on('message', (message) => received.push(message))
  return {
    connection,
    clock,
    sockets,
    log,
    errors,
    received,
    get socket(): FakeSocket {
      const socket = sockets.at(-1)
      if (!socket) throw new Error('no socket was made')
      return socket
    },
    /** Up to the welcome; a resume is left to the test. */
    async opens(features: readonly Feature[] = []) {
      if (connection.phase === 'idle') connection.connect()
      await settle()
      this.socket.opens()
      this.socket.welcomes(features, `c${sockets.length}`)
      await settle()
    },
    /** To the end of the backoff. */
    async retries() {
      await clock.advance((connection.retryAt ?? clock.now()) - clock.now())
    },
    send: (...texts: string[]) => texts.map((text) => connection.send({ type: 'send', text }, { id: text })),
  }
}
