import { checkFunction } from '../check'
import { CommandRejected } from '../errors'
import { isSessionId, SESSION_ID_RULE } from '../request/cursors'
import type {
  ActiveRuns,
  Coalesce,
  Produce,
  ResumeOptions,
  RunCall,
  RunReceipt,
  Runs,
  RunsOptions,
  StartOptions,
} from './api'
import { appEvent } from './appEvent'
import { LocalRun } from './localRun'
import { LocalRuns } from './localRuns'
import { checkResume, checkStart, type ResolvedRuns, resolveRuns } from './options'
import { answer, begin, end, type Hold, holdsOf, type Suspended, stateOf, withPrompt } from './record'
import { isRunName, RunNames } from './runName'
import { type Decision, RunStore, type View } from './store'
import { Watch } from './watch'

/**
 * Runs for the sessions of a server. Make one in each process, before it takes requests. Where the
 * server has a `protocol`, say so: `const runs: RunsOf<typeof chat> = createRuns({ server })`. It
 * is not inferred, because `onCommand` starts the runs of the server that it is given to.
 *
 * @throws TypeError naming the option, if one is invalid or unknown, or if the server's log keeps
 * no runs
 */
export function createRuns(options: RunsOptions): Runs {
  const desk = new RunDesk(resolveRuns(options))
  // Own functions, so that it is safe to destructure.
  return {
    start: (...given) => desk.start(...given),
    resume: (...given) => desk.resume(...given),
    stop: (...given) => desk.stop(...given),
    active: (sessionId) => desk.active(sessionId),
    idle: () => desk.idle(),
  }
}

/** What a start or a resume asks for. */
interface Wish {
  readonly sessionId: string
  readonly run: string
  readonly produce: Produce
  readonly coalesce: Coalesce | undefined
  /** The names that tell whether it is a repeat, beside the run's. */
  readonly names: readonly string[]
  decide(view: View, hold: Hold): Decision<RunReceipt>
}

class RunDesk {
  readonly #options: ResolvedRuns
  readonly #process = crypto.randomUUID()
  readonly #locals: LocalRuns
  readonly #store: RunStore
  readonly #watch: Watch
  readonly #starts = new RunNames()
  readonly #answers = new RunNames()

  constructor(options: ResolvedRuns) {
    this.#options = options
    const { parts, joinRuns, lease, suspendAge } = options
    const { clock, onMetric, limits } = parts
    const log = joinRuns({
      name: this.#process,
      lease,
      waits: suspendAge,
      remembers: Math.ceil(limits.receiptAge),
      // It comes from outside.
      onWake: (sessionId) => isSessionId(sessionId) && this.#locals.look(sessionId),
    })
    this.#store = new RunStore({
      log,
      process: this.#process,
      clock,
      onMetric,
      onChanged: (sessionId, record) => this.#locals.follow(sessionId, record),
    })
    this.#locals = new LocalRuns({ store: this.#store, process: this.#process, parts })
    this.#watch = new Watch({ log, store: this.#store, locals: this.#locals, lease, parts })
    this.#watch.start()
  }

  async start(call: RunCall, produce: Produce, options: StartOptions = {}): Promise<RunReceipt> {
    const { onBusy, coalesce, parts } = this.#options
    checkFunction('produce', produce)
    checkStart(options)
    const sessionId = sessionOf('start', call)
    // As it is now: the app may change it later.
    const prompt = options.prompt && JSON.parse(appEvent(parts, sessionId, options.prompt).json)
    const name = await this.#starts.next(call)
    const run = options.id ?? name
    return this.#enter({
      sessionId,
      run,
      produce,
      coalesce: options.coalesce ?? coalesce,
      names: [],
      decide({ record, page }, hold) {
        const state = stateOf(record, run) ?? (page.ended.includes(run) ? 'ended' : undefined)
        if (state) return { value: { run, state, isRepeat: true } }
        const step = begin(record, hold, onBusy)
        if (step === 'busy') throw new CommandRejected(409, 'busy')
        const value: RunReceipt = { run, state: stateOf(step.record, run) ?? 'queued' }
        return { step: prompt ? withPrompt(step, run, prompt) : step, value }
      },
    })
  }

  async resume(call: RunCall, run: string, produce: Produce, options: ResumeOptions = {}): Promise<RunReceipt> {
    checkRun(run)
    checkFunction('produce', produce)
    checkResume(options)
    const sessionId = sessionOf('resume', call)
    const name = `answer-${await this.#answers.next(call)}`
    return this.#enter({
      sessionId,
      run,
      produce,
      coalesce: options.coalesce ?? this.#options.coalesce,
      names: [name],
      decide({ record, page }, hold) {
        const active = record.active?.id === run ? record.active : undefined
        if (active?.answers.includes(name)) return { value: { run, state: active.state, isRepeat: true } }
        if (page.ended.includes(name)) return { value: { run, state: 'ended', isRepeat: true } }
        if (!active) throw new CommandRejected(409, 'ended')
        if (active.state !== 'suspended' || !isAbout(active, options)) throw new CommandRejected(409, 'answered')
        const step = answer(record, active, hold, name)
        if (step === 'full') throw new CommandRejected(409, 'too-many-answers')
        return { step, value: { run, state: 'running' } }
      },
    })
  }

  async stop(sessionId: string, run?: string): Promise<string | undefined> {
    checkSession('stop', sessionId)
    if (run !== undefined) checkRun(run)
    let id = run
    const { value } = await this.#store.change({
      sessionId,
      decide({ record }) {
        // The one that was active on arrival, however often this is asked.
        id ??= record.active?.id
        const step = id === undefined ? undefined : end(record, id, 'stopped')
        return { step, value: step && id }
      },
    })
    return value
  }

  async active(sessionId: string): Promise<ActiveRuns> {
    checkSession('active', sessionId)
    const { page, record } = await this.#store.view(sessionId)
    const { epoch, head, kept } = page
    const queued = record.queue.map(({ id }) => id)
    const { broken } = record
    if (!record.active) return { head, epoch, run: null, queued, ...(broken && { broken }) }
    const { id, state } = record.active
    const run = { id, state, after: beforeOf(kept) }
    return {
      head,
      epoch,
      run: record.active.state === 'suspended' ? { ...run, waitsFor: record.active.waitsFor } : run,
      queued,
    }
  }

  idle(): Promise<void> {
    return this.#locals.idle()
  }

  /** Known here before the log knows it, so that no news of it is missed. */
  async #enter({ sessionId, run, produce, coalesce, names, decide }: Wish): Promise<RunReceipt> {
    const { parts, suspendAge } = this.#options
    const hold: Hold = { id: run, token: crypto.randomUUID(), process: this.#process }
    const local = new LocalRun({
      sessionId,
      hold,
      produce,
      coalesce,
      suspendAge,
      store: this.#store,
      parts,
      onOver: (over) => this.#locals.remove(over),
    })
    this.#locals.add(local)
    this.#watch.start()
    try {
      const { value, kept } = await this.#store.change({
        sessionId,
        names: [run, ...names],
        decide(view) {
          // The answer to the call that brought it there was lost.
          const isThere = holdsOf(view.record).some(({ token }) => token === hold.token)
          return isThere ? { value: { run, state: stateOf(view.record, run) ?? 'queued' } } : decide(view, hold)
        },
      })
      if (value.isRepeat) this.#locals.drop(local)
      else if (value.state === 'running') this.#locals.begin(local)
      else this.#locals.enqueue(local)
      const hasBegun = value.state === 'running' || value.state === 'suspended'
      return hasBegun ? { ...value, after: beforeOf(kept) } : value
    } catch (error) {
      this.#locals.drop(local)
      // Of a rejection it is known that nothing was done.
      if (!(error instanceof CommandRejected)) this.#locals.doubt(sessionId)
      throw error
    }
  }
}

/** The cursor before the event that the log keeps all from. */
const beforeOf = (kept: number) => Math.max(0, kept - 1)

/** Whether this answers what the run waits for now. */
const isAbout = ({ waitsFor }: Suspended, options: ResumeOptions) =>
  options.waitsFor === undefined || toCanonical(waitsFor) === toCanonical(options.waitsFor)

/** JSON in which the order of an object's fields makes no difference. */
function toCanonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([one], [other]) => (one < other ? -1 : 1)))
      : inner,
  )
}

function sessionOf(where: string, { sessionId }: RunCall): string {
  if (sessionId === undefined) throw new CommandRejected(400, 'no-session')
  checkSession(where, sessionId)
  return sessionId
}

function checkSession(where: string, sessionId: string) {
  if (!isSessionId(sessionId)) throw new TypeError(`${where}: the session id ${SESSION_ID_RULE}`)
}

/** Most often it comes from a client. */
function checkRun(run: unknown) {
  if (!isRunName(run)) throw new CommandRejected(400, 'bad-run')
}
