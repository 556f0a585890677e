import type { Timers } from '../clock'
import type { GatewaySocket } from './socket'
import type { FrameAnswer } from './webSocketFrames'

const OPEN = 1
/** Bytes that the client has not taken. Beyond, nothing more is sent. */
const HIGH_WATER = 262_144
/** There is no event that tells on every host that a socket has drained. ms. */
const DRAIN_POLL = 20

/** Sends on one socket, no faster than its client takes it. */
export class SocketWriter {
  readonly #socket: GatewaySocket
  readonly #clock: Timers
  #state: 'sending' | 'over' = 'sending'

  constructor(socket: GatewaySocket, clock: Timers) {
    this.#socket = socket
    this.#clock = clock
  }

  get isClogged() {
    return this.#socket.bufferedAmount > HIGH_WATER
  }

  send(frame: string) {
    if (this.#socket.readyState === OPEN) this.#socket.send(frame)
  }

  sendAck(id: string, answer: FrameAnswer) {
    this.send(JSON.stringify({ type: 'ack', id, ...answer }))
  }

  /** Resolves once the client has taken enough, or nothing is sent any more. */
  async drained() {
    while (this.isClogged && this.#state !== 'over')
      await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, DRAIN_POLL))
  }

  end() {
    this.#state = 'over'
  }
}
