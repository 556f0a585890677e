import type { Actor } from 'xstate'
import type { ConnectionError } from '../errors'
import type { connectionMachine } from '../machine/connectionMachine'
import { phase as phaseOf } from '../machine/phase'
import type { ConnectionContext, ConnectionEvent, Phase } from '../machine/types'

/** `failed`: XState has ended the machine. The context that it had remains. */
type Life =
  | { readonly state: 'running' | 'disposed' }
  | { readonly state: 'failed'; readonly remains: ConnectionContext }

const RUNNING: Life = { state: 'running' }

/** The machine of one connection from outside: where it is, and how it is told something. */
export class Line {
  readonly actor: Actor<typeof connectionMachine>
  #life: Life = RUNNING

  constructor(actor: Actor<typeof connectionMachine>) {
    this.actor = actor
  }

  get state(): Life['state'] {
    return this.#life.state
  }

  context(): ConnectionContext {
    return this.#life.state === 'failed' ? this.#life.remains : this.actor.getSnapshot().context
  }

  phase(): Phase {
    return this.#life.state === 'failed' ? 'idle' : phaseOf(this.actor.getSnapshot())
  }

  tell(event: ConnectionEvent) {
    if (this.#life.state === 'running') this.actor.send(event)
  }

  /** The last that it is told is to disconnect. False: it had ended before. */
  dispose(): boolean {
    if (this.#life.state !== 'running') return false
    this.#life = { state: 'disposed' }
    this.actor.send({ type: 'disconnect' })
    // In a listener, the disconnect still stands in line behind the event that is being told.
    queueMicrotask(() => this.actor.stop())
    return true
  }

  /**
   * The machine is no more. Returns the phase in which it ended; null, if the app had disposed of
   * it before.
   */
  fail(lastError: ConnectionError): Phase | null {
    // XState stops no child of a machine that has failed.
    for (const child of Object.values(this.actor.getSnapshot().children)) child?.send({ type: 'xstate.stop' } as never)
    if (this.#life.state !== 'running') return null
    const phase = this.phase()
    this.#life = { state: 'failed', remains: { ...this.context(), connectionId: null, lastError } }
    return phase
  }
}
