import type { ConnectionContext } from '../machine/types'
import type { Feature } from '../protocol'
import type { Lane } from './lane'
import type { Message } from './message'

/** A period in which POSTs may start, on one stream. */
export interface Gate {
  readonly connectionId: string | null
  /** Announced by the server. */
  readonly features: readonly Feature[]
  /** How long the server remembers what it took, ms. */
  readonly receiptAge: number
  /** The stream has answered a resume with 2xx. */
  readonly isResumed: boolean
  /** The machine's, as the gate opens. */
  readonly trust: ConnectionContext['trust']
  /** Tells the machine whether something may leave. */
  tell(state: 'flow' | 'pause'): void
}

/** One POST, and the messages that it carries: one, or a batch. */
export class Flight {
  /** `underWay`: `fetch` was called, so the server may have it. */
  state: 'preparing' | 'underWay' | 'over' = 'preparing'
  readonly abort = new AbortController()
  readonly gate: Gate
  readonly messages: readonly Message[]

  constructor(gate: Gate, messages: readonly Message[]) {
    this.gate = gate
    this.messages = messages
  }

  /**
   * The lane of its first message, which stands for all of a batch where the lanes at work are
   * counted.
   */
  get leader(): Lane {
    return (this.messages[0] as Message).lane
  }

  get isBatch() {
    return this.messages.length > 1
  }

  get lanes(): ReadonlySet<Lane> {
    return new Set(this.messages.map(({ lane }) => lane))
  }
}
