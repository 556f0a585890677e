import { EventEmitter, once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A line between a client and its server on this machine, and what may become of it. */
export interface Relay {
  readonly port: number
  /** Requests that were answered 503. */
  readonly refused: number
  /** The first 503; false if none is asked for within so many ms. */
  refusal(within: number): Promise<boolean>
  /** Of new connections: `pass` them on, answer `busy` (503), or be `down`, which resets them. */
  turn(mode: Mode): void
  /** Ends all connections without a word. */
  cut(): void
  /**
   * The connections of this moment stay open, and nothing gets through any more, in either
   * direction; new ones are well.
   */
  swallow(): void
  close(): Promise<void>
}
export type Mode = 'pass' | 'busy' | 'down'

const BUSY = 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'

export async function startRelay(target: number): Promise<Relay> {
  const pairs = new Set<Pair>()
  let mode: Mode = 'pass'
  let refused = 0
  const events = new EventEmitter()

  const server = createServer((socket) => {
    if (mode === 'down') return void socket.resetAndDestroy()
    if (mode === 'busy') return refuse(socket)
    const pair = new Pair(socket, connect({ port: target, host: '127.0.0.1' }), () => pairs.delete(pair))
    pairs.add(pair)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  function refuse(socket: Socket) {
    socket.on('error', () => socket.destroy())
    socket.once('data', () => {
      refused++
      socket.end(BUSY)
      events.emit('refused')
    })
  }
  const each = (work: (pair: Pair) => void) => [...pairs].forEach(work)
  return {
    port: (server.address() as AddressInfo).port,
    get refused() {
      return refused
    },
    async refusal(within) {
      const signal = AbortSignal.timeout(within)
      if (refused === 0) await once(events, 'refused', { signal }).catch(() => {})
      return refused > 0
    },
    turn(next) {
      mode = next
    },
    cut: () => each((pair) => pair.destroy()),
    swallow: () => each((pair) => pair.swallow()),
    async close() {
      each((pair) => pair.destroy())
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

class Pair {
  private state: 'passing' | 'swallowed' | 'over' = 'passing'

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    private readonly onOver: () => void,
  ) {
    this.join(client, server)
    this.join(server, client)
  }

  private join(from: Socket, to: Socket) {
    from.setNoDelay(true)
    from.on('error', () => {})
    from.on('data', (bytes) => {
      if (this.state !== 'passing' || to.write(bytes)) return
      from.pause()
      to.once('drain', () => from.resume())
    })
    from.on('close', () => {
      if (this.state === 'passing') this.destroy()
    })
  }

  swallow() {
    this.state = 'swallowed'
    for (const socket of [this.client, this.server]) socket.resume()
  }

  destroy() {
    this.state = 'over'
    this.client.destroy()
    this.server.destroy()
    this.onOver()
  }
}
