import type { Verdict } from 'holdline'
import { type Asked, checkRuns } from './runs'

/** What became of a run, as seen from outside: by the clients, by the producer, and in the log. */
export interface History {
  /** How often Redis came back with nothing, or a primary was replaced by its replica. */
  readonly restarts: number
  /** How often sessions moved to another server, which loses nothing. Default: 0. */
  readonly moves?: number
  /** Whether each of those is about a part of the sessions. */
  readonly isSharded?: boolean
  /** The sessions, as they stand in the log at the end. */
  readonly logs: Readonly<Record<string, Log>>
  /** In the order of each client's `send()`. */
  readonly commands: readonly Command[]
  /** In the order of the calls. */
  readonly appends: readonly Append[]
  readonly heard: readonly Heard[]
  /** Requests about streams of nodes that were dead. */
  readonly probes: readonly Probe[]
  /** What no run should see, e.g. a node that ended by itself. */
  readonly surprises: readonly string[]
}
export interface Log {
  readonly epoch: string
  /** Its events, each as `<seq> <what>`. */
  readonly events: readonly string[]
}
export interface Place {
  readonly epoch: string
  readonly seq: number
}
export interface Command {
  readonly client: number
  readonly sessionId: string
  /** What its events say. The receipt says where in the log they stand. */
  readonly whats: readonly string[]
  /** They are said by a run, as far as that gets. The receipt names the run. */
  readonly isRun?: boolean
  readonly verdict?: Verdict | undefined
}
export interface Append {
  readonly sessionId: string
  readonly what: string
  /** Missing if the append was rejected: nobody knows then. */
  readonly place?: Place | undefined
}
/** What a client was told of a session. */
export interface Heard {
  readonly client: number
  readonly sessionId: string
  /**
   * The first one begins at the cursor that the client came with, each further one with a `reset`.
   */
  readonly lives: readonly Life[]
}
export interface Life {
  /** The cursor that it begins at. */
  readonly after: number
  /** Unknown before the first event. */
  readonly epoch?: string | undefined
  readonly events: readonly string[]
}
export interface Probe {
  readonly what: string
  /** Missing if there was no answer. */
  readonly status?: number | undefined
  /** Beyond what the same request about an unknown stream takes. */
  readonly ms: number
}

/** ms. In a cluster a connection that was cut takes longer to be found and made again. */
const MAX_PROBE = 1_000
const MAX_SHARDED_PROBE = 2_000

/** The rules that the history breaks; none, if the library keeps its word. */
export const check = (history: History): string[] => new Check(history).violations()

class Check {
  readonly #history: History
  readonly #violations: string[]
  /** The numbers under which something stands in the log. */
  readonly #seqs = new Map<string, number[]>()
  /** Of each line, the last place in the log. */
  readonly #last = new Map<string, number>()
  /** What has been number `seq` of an epoch that is over. */
  readonly #past = new Map<string, string>()

  constructor(history: History) {
    this.#history = history
    this.#violations = [...history.surprises]
  }

  violations(): string[] {
    this.#checkLogs()
    for (const command of this.#history.commands) this.#checkCommand(command)
    this.#checkAppends()
    this.#checkOrigins()
    this.#checkRuns()
    for (const heard of this.#history.heard) this.#checkHeard(heard)
    this.#checkProbes()
    return this.#violations
  }

  #expect(holds: unknown, rule: string) {
    if (!holds) this.#violations.push(rule)
  }

  #seqsOf(sessionId: string, what: string): readonly number[] {
    return this.#seqs.get(`${sessionId} ${what}`) ?? []
  }

  #checkLogs() {
    for (const [sessionId, { events }] of Object.entries(this.#history.logs)) {
      for (const [index, event] of events.entries()) {
        const seq = Number.parseInt(event, 10)
        this.#expect(seq === index + 1, `the log of ${sessionId} has ${seq} in the place of ${index + 1}`)
        const key = `${sessionId} ${whatOf(event)}`
        const known = this.#seqs.get(key)
        if (known) known.push(seq)
        else this.#seqs.set(key, [seq])
      }
    }
  }

  #checkCommand({ client, sessionId, whats, isRun, verdict }: Command) {
    const isAccepted = verdict?.status === 'accepted'
    this.#expect(isAccepted, `${whats[0]} to ${sessionId} ended ${verdict?.status ?? 'not at all'}`)
    if (isRun) return
    const places = isAccepted ? Object(verdict.receipt).places : undefined
    for (const [index, what] of whats.entries()) {
      this.#expect(!isAccepted || places?.[index], `the receipt of ${what} to ${sessionId} says nothing of it`)
      this.#checkPlace(sessionId, what, places?.[index])
      this.#checkOrder(`client ${client}`, sessionId, what)
    }
  }

  #checkAppends() {
    for (const { sessionId, what, place } of this.#history.appends) {
      this.#checkPlace(sessionId, what, place)
      // One that was rejected may have been under way for longer.
      if (place) this.#checkOrder('the producer', sessionId, what)
    }
  }

  /**
   * What was acknowledged stands where that was said, what was not may be missing, and nothing
   * stands there twice.
   */
  #checkPlace(sessionId: string, what: string, place: Place | undefined) {
    const { logs, restarts, moves = 0 } = this.#history
    const found = this.#seqsOf(sessionId, what)
    const told = `${what} of ${sessionId}`
    this.#expect(found.length <= 1, `doubled: ${told} is in the log at ${found}`)
    if (!place) return
    const isOfThisLife = place.epoch === logs[sessionId]?.epoch
    this.#expect(isOfThisLife || restarts + moves > 0, `${told} was acknowledged in an epoch that is not the log's`)
    if (!isOfThisLife && restarts > 0) return
    this.#expect(found.length > 0, `lost: ${told}, acknowledged as ${place.seq}, is not in the log`)
    this.#expect(
      found.length !== 1 || found[0] === place.seq,
      `${told}, acknowledged as ${place.seq}, is in the log at ${found}`,
    )
  }

  #checkOrder(line: string, sessionId: string, what: string) {
    const [seq = 0] = this.#seqsOf(sessionId, what)
    const key = `${line} ${sessionId}`
    const before = this.#last.get(key) ?? 0
    this.#expect(!seq || seq > before, `reordered: ${what} is number ${seq} of ${sessionId}, after ${before}`)
    this.#last.set(key, Math.max(seq, before))
  }

  #checkOrigins() {
    const { commands, appends } = this.#history
    const known = new Set([
      ...commands.flatMap(keysOf),
      ...appends.flatMap((append) => keysOf({ ...append, whats: [append.what] })),
    ])
    for (const key of this.#seqs.keys())
      this.#expect(known.has(key) || / run\.(started|ended) /.test(key), `nobody sent this to session ${key}`)
  }

  /** A Redis that comes back with nothing has lost the runs too. */
  #checkRuns() {
    const { restarts, logs, commands } = this.#history
    if (restarts > 0) return
    for (const [sessionId, { events }] of Object.entries(logs)) {
      const asked = runsOf(commands, sessionId)
      if (asked.size > 0) this.#violations.push(...checkRuns(sessionId, events.map(whatOf), asked))
    }
  }

  #checkHeard({ client, sessionId, lives }: Heard) {
    const { restarts, moves = 0, isSharded, logs } = this.#history
    const where = `client ${client} in ${sessionId}`
    const [resets, most] = [lives.length - 1, restarts + moves]
    this.#expect(resets === most || (isSharded && resets < most), `${where} was told 'reset' ${resets} times`)
    for (const life of lives.slice(0, -1)) this.#checkPast(sessionId, where, life)
    const { after = 0, epoch, events = [] } = lives.at(-1) ?? {}
    const log = logs[sessionId]
    this.#expect(epoch === undefined || epoch === log?.epoch, `${where} is in another epoch than the log`)
    const fault = difference(events, log?.events.slice(after) ?? [])
    this.#expect(!fault, `${fault} (${where}, from ${after})`)
  }

  #checkPast(sessionId: string, where: string, { after, epoch, events }: Life) {
    for (const [index, event] of events.entries()) {
      const seq = after + index + 1
      const key = `${sessionId} ${epoch} ${seq}`
      const other = this.#past.get(key) ?? event
      const isNext = Number.parseInt(event, 10) === seq
      this.#expect(isNext && event === other, `${where} heard '${event}' as number ${seq} before the reset`)
      this.#past.set(key, other)
    }
  }

  #checkProbes() {
    const { probes, isSharded } = this.#history
    const most = isSharded ? MAX_SHARDED_PROBE : MAX_PROBE
    for (const { what, status, ms } of probes) {
      const told = `${what} to a dead node's stream: ${status ?? 'no answer'} after ${ms.toFixed(0)} ms`
      this.#expect(status === 404 && ms < most, told)
    }
  }
}

/** The first thing that is wrong with what was heard. */
function difference(heard: readonly string[], log: readonly string[]): string | undefined {
  const at = Array.from({ length: Math.max(heard.length, log.length) }).findIndex(
    (_, index) => heard[index] !== log[index],
  )
  if (at < 0) return undefined
  const [got, wanted] = [heard[at], log[at]]
  const before = heard[at - 1] ?? 'the beginning'
  if (got === undefined) return `lost: nothing was heard after '${before}', not even '${wanted}'`
  if (heard.indexOf(got) < at) return `doubled: '${got}' was heard again after '${before}'`
  if (!log.includes(got)) return `'${got}', which is not in the log, was heard after '${before}'`
  if (wanted !== undefined && heard.includes(wanted)) return `reordered: '${got}' was heard before '${wanted}'`
  return `lost: '${got}' was heard after '${before}', without '${wanted}'`
}

export const whatOf = (event: string) => event.slice(event.indexOf(' ') + 1)
const keysOf = ({ sessionId, whats }: Pick<Command, 'sessionId' | 'whats'>) =>
  whats.map((what) => `${sessionId} ${what}`)

/** What the runs of a session were to say, by the names that their receipts gave. */
function runsOf(commands: readonly Command[], sessionId: string): ReadonlyMap<string, Asked> {
  const asked = new Map<string, Asked>()
  for (const { whats, verdict, ...command } of commands) {
    if (!command.isRun || command.sessionId !== sessionId || verdict?.status !== 'accepted') continue
    asked.set(String(Object(verdict.receipt).run), { whats })
  }
  return asked
}
