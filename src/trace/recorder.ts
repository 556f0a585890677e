import type { AnyMachineSnapshot, InspectionEvent } from 'xstate'
import type { Clock } from '../environment'
import { madeProgress, nonceOf } from '../machine/connectionMachine'
import type { ConnectionContext } from '../machine/types'
import type { Cursor } from '../protocol'
import type { Trace, TraceStep } from './trace'

/** How many steps are kept. */
const LENGTH = 256

/** `{"active":{"streaming":"connecting"}}` → `active.streaming.connecting`. There are few of them, and each is kept once. */
const paths: Record<string, string> = {}
export function pathOf(value: unknown): string {
  const path = JSON.stringify(value).replace(/[{}"]/g, '').replace(/:/g, '.')
  paths[path] ??= path
  return paths[path]
}

/** What the guards ask of an event, of all events together. An app may have sent it: it is taken for nothing that it is not. */
interface Facts {
  readonly cursors?: readonly Cursor[]
  readonly leftOvers?: readonly Cursor[]
  readonly hasHole?: unknown
  readonly resumeId?: string | null
  readonly nonce?: string
  readonly awayFor?: unknown
}
const number = (value: unknown) => (typeof value === 'number' ? value : undefined)

/** The flight recorder: the last steps of the machines, as facts without a payload. At most 200 bytes each. */
export class Recorder {
  readonly #clock: Clock
  readonly #startedAt: number
  readonly #maxAttempts: number
  readonly #steps: { -readonly [Field in keyof TraceStep]: TraceStep[Field] }[] = []
  readonly #states = { connection: 'idle', outbox: 'held' }
  #context: ConnectionContext | undefined
  #dropped = 0

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
    const { cursors, leftOvers, hasHole, resumeId, nonce, awayFor } = event as Facts
    const state = snapshot as AnyMachineSnapshot
    // What the chart has no word for is XState's own, or the app's.
    if (!taken && !state.machine.events.includes(event.type)) return
    const isRoot = actorRef.sessionId === rootId
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
    const last = this.#steps.at(-1)
    if (last && taken?.eventType === '') last.to = to
    else {
      // What is refused records nothing.
      const fault = after.lastError === known.lastError ? null : after.lastError
      const length = this.#steps.push({
        at: this.#clock.now() - this.#startedAt,
        machine,
        event: event.type,
        from,
        to,
        refused: !taken,
        attempt: known.attempt,
        trust: known.trust,
        farewell: known.farewell,
        fruitless: known.fruitless,
        resumes: known.resumes,
        refusals: known.refusals || undefined,
        flaps: known.flaps || undefined,
        features: known.features,
        heartbeat: known.heartbeat,
        sessions: number((cursors ?? leftOvers)?.length),
        moved: leftOvers && !!madeProgress(known.cursors, leftOvers),
        hole: hasHole === true || undefined,
        own: nonce ? nonce === nonceOf(known) : resumeId == null ? resumeId : resumeId === known.resumeId,
        awayFor: number(awayFor),
        delay: to === 'active.backoff' ? after.delay : undefined,
        code: fault?.code,
        status: fault?.status,
        retryable: fault?.retryable,
      })
      if (length > LENGTH) {
        this.#steps.shift()
        this.#dropped++
      }
    }
    return isRoot && !taken ? event.type : undefined
  }

  trace(): Trace {
    return {
      format: 'holdline-trace',
      version: 1,
      startedAt: this.#startedAt,
      maxAttempts: this.#maxAttempts,
      dropped: this.#dropped,
      steps: [...this.#steps],
    }
  }
}
