import type { AnyMachineSnapshot, EventObject, InspectedMicrostepEvent, InspectionEvent } from 'xstate'
import type { Clock } from '../environment'
import { madeProgress, nonceOf } from '../machine/facts'
import type { ConnectionContext } from '../machine/types'
import type { Cursor } from '../protocol'
import type { Trace, TraceStep } from './trace'

/** How many steps are kept. */
const LENGTH = 256

/**
 * `{"active":{"streaming":"connecting"}}` → `active.streaming.connecting`. There are few of them,
 * and each is kept once.
 */
const paths: Record<string, string> = {}
export function pathOf(value: unknown): string {
  const path = JSON.stringify(value).replace(/[{}"]/g, '').replace(/:/g, '.')
  paths[path] ??= path
  return paths[path]
}

/**
 * The fields that guards read, of all events together. An app may have sent the event, so no field
 * need be of its type.
 */
interface Facts {
  readonly cursors?: readonly Cursor[]
  readonly leftOvers?: readonly Cursor[]
  readonly isByServer?: unknown
  readonly resumeId?: string | null
  readonly nonce?: string
  readonly awayFor?: unknown
}
const number = (value: unknown) => (typeof value === 'number' ? value : undefined)

/**
 * What a microstep is. XState has no public word for a refused event: it is a microstep in which no
 * transition was taken, and whose event is not one of XState's own. A contract test pins that.
 * `onward`: an `always`, which goes on with the event that came before. `foreign`: the chart does
 * not know the event, so it is XState's own, or the app's.
 */
function kindOf({ event, snapshot, _transitions: [taken] }: InspectedMicrostepEvent) {
  if (taken) return taken.eventType === '' ? 'onward' : 'taken'
  return (snapshot as AnyMachineSnapshot).machine.events.includes(event.type) ? 'refused' : 'foreign'
}

type Step = { -readonly [Field in keyof TraceStep]: TraceStep[Field] }

/**
 * The flight recorder: the last steps of the machines, as facts without a payload. At most 200
 * bytes each.
 */
export class Recorder {
  readonly #clock: Clock
  readonly #startedAt: number
  readonly #maxAttempts: number
  readonly #steps: Step[] = []
  readonly #states = { connection: 'idle', outbox: 'held', tab: 'apart' }
  /** What the connection knew after the last step. */
  #context: ConnectionContext | undefined
  #dropped = 0

  constructor(clock: Clock, maxAttempts: number) {
    this.#clock = clock
    this.#startedAt = clock.now()
    this.#maxAttempts = maxAttempts
  }

  /**
   * Takes the inspection events of XState; `given`: those of the machine of `holdline/tabs`, which
   * hears its leader every 2 s, so only of its steps to another state. Returns the type of an event
   * that the connection has refused.
   */
  note(inspected: InspectionEvent, given?: 'tab'): string | undefined {
    if (inspected.type !== '@xstate.microstep') return
    const kind = kindOf(inspected)
    if (kind === 'foreign') return
    const { event, snapshot, actorRef, rootId } = inspected
    const { value, context } = snapshot as AnyMachineSnapshot
    const machine = given ?? (actorRef.sessionId === rootId ? 'connection' : 'outbox')
    const isRoot = machine === 'connection'
    const from = this.#states[machine]
    const to = pathOf(value)
    if (given && from === to) return
    this.#states[machine] = to
    // Connected anew, the line has another outbox.
    if (from === 'idle') this.#states.outbox = 'held'
    const last = this.#steps.at(-1)
    // One event is one step, also where it leads through a state.
    if (kind === 'onward' && last) last.to = to
    else this.#add({ machine, from, to, refused: kind === 'refused' }, event, isRoot ? context : this.#context)
    if (isRoot) this.#context = context
    return isRoot && kind === 'refused' ? event.type : undefined
  }

  #add(step: Pick<Step, 'machine' | 'from' | 'to' | 'refused'>, event: EventObject, after: ConnectionContext) {
    const { cursors, leftOvers, isByServer, resumeId, nonce, awayFor } = event as Facts
    const known = this.#context ?? after
    // What is refused records nothing.
    const fault = after.lastError === known.lastError ? null : after.lastError
    const { machine, from, to, refused } = step
    const length = this.#steps.push({
      at: this.#clock.now() - this.#startedAt,
      machine,
      event: event.type,
      from,
      to,
      refused,
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
      hole: isByServer === true || undefined,
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
