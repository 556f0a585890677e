import type { AnyMachineSnapshot, InspectionEvent } from 'xstate'
import type { ConnectionError } from './errors'
import { madeProgress, nonceOf } from './machine/connectionMachine'
import type { ConnectionContext } from './machine/types'
import type { Cursor } from './protocol'
import type { Clock, Trace, TraceStep } from './types'

/** How many steps are kept. */
const LENGTH = 256

/** `{"active":{"streaming":"connecting"}}` → `active.streaming.connecting`. There are few of them, and each is kept once. */
const paths: Record<string, string> = {}
export function pathOf(value: unknown): string {
  const path = JSON.stringify(value).replace(/[{}"]/g, '').replace(/:/g, '.')
  paths[path] ??= path
  return paths[path]
}

/** What the guards ask of an event, of all events together. */
interface Facts {
  readonly error?: ConnectionError
  readonly cursors?: readonly Cursor[]
  readonly leftOvers?: readonly Cursor[]
  readonly resumeId?: string | null
  readonly nonce?: string
  readonly awayFor?: number
  readonly delay?: number
}

/** The flight recorder: the last steps of the machines, as facts without a payload. At most 200 bytes each. */
export class Recorder {
  readonly #clock: Clock
  readonly #startedAt: number
  readonly #maxAttempts: number
  readonly #ring: TraceStep[] = []
  readonly #states = { connection: 'idle', outbox: 'held' }
  #context: ConnectionContext | undefined
  #last = {} as { -readonly [Field in keyof TraceStep]: TraceStep[Field] }
  #count = 0

  constructor(clock: Clock, maxAttempts: number) {
    this.#clock = clock
    this.#startedAt = clock.now()
    this.#maxAttempts = maxAttempts
  }

  /**
   * Takes the inspection events of XState. Returns the type of the event that the connection refused, if one tells that: XState has no
   * public word for it, it is a microstep in which no transition was taken, and whose event is not one of XState's own. A contract test pins that.
   */
  note(inspected: InspectionEvent): string | undefined {
    if (inspected.type !== '@xstate.microstep') return
    const {
      event,
      snapshot,
      actorRef,
      rootId,
      _transitions: [taken],
    } = inspected
    if (!taken && event.type.startsWith('xstate.')) return
    const { error, cursors, leftOvers, resumeId, nonce, awayFor, delay } = event as Facts
    const isRoot = actorRef.sessionId === rootId
    const state = snapshot as AnyMachineSnapshot
    const machine = isRoot ? 'connection' : 'outbox'
    const after: ConnectionContext = isRoot ? state.context : this.#context
    const known = this.#context ?? after
    this.#context = after
    const from = this.#states[machine]
    const to = pathOf(state.value)
    this.#states[machine] = to
    // Connected anew, the line has another outbox.
    if (from === 'idle') this.#states.outbox = 'held'
    // An `always`: one event is one step, also where it leads through a state.
    if (taken?.eventType === '') this.#last.to = to
    else {
      // What is refused records nothing.
      const fault = after.lastError === known.lastError ? error : after.lastError
      this.#last = {
        at: this.#clock.now() - this.#startedAt,
        machine,
        event: event.type,
        from,
        to,
        refused: !taken,
        attempt: known.attempt,
        fruitless: known.fruitless,
        resumes: known.resumes,
        features: known.features,
        heartbeat: known.heartbeat,
        sessions: (cursors ?? leftOvers)?.length,
        moved: leftOvers && madeProgress(known.cursors, leftOvers),
        own: nonce ? nonce === nonceOf(known) : resumeId == null ? resumeId : resumeId === known.resumeId,
        awayFor,
        delay: to === 'active.backoff' ? after.delay : delay,
        code: fault?.code,
        status: fault?.status,
        retryable: fault?.retryable,
      }
      this.#ring[this.#count++ % LENGTH] = this.#last
    }
    return isRoot && !taken ? event.type : undefined
  }

  trace(): Trace {
    const oldest = this.#count % LENGTH
    return {
      format: 'holdline-trace',
      version: 1,
      startedAt: this.#startedAt,
      maxAttempts: this.#maxAttempts,
      dropped: this.#count - this.#ring.length,
      steps: this.#ring.slice(oldest).concat(this.#ring.slice(0, oldest)),
    }
  }
}
