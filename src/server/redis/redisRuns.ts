import { unavailable } from '../errors'
import type { Overdue, RunBatch, RunChange, RunLog, RunPage, RunProcess } from '../log/runLog'
import type { Health } from './health'
import type { Keys } from './keys'
import type { RedisLink } from './link'
import type { Subscriptions } from './subscriptions'

export interface RedisRunsOptions {
  readonly link: RedisLink
  readonly keys: Keys
  readonly health: Health
  readonly subscriptions: Subscriptions
  /** As in `AppenderOptions`. */
  readonly maxEvents: number
  readonly maxAge: number
  readonly maxSessionBytes: number
  readonly keep: number
  readonly replicas: number
  onAppended(sessionId: string, epoch: string, seq: number, json: string): void
}

/** Sessions of one process that are told of at once. */
const MAX_OVERDUE = 200

interface Member {
  readonly process: RunProcess
  /** Before that it judges no other process, by the clock of Redis. */
  judgesFrom: number
  /** The server that it spoke to last. */
  server: string | undefined
}

/** The runs in Redis: each step is one script. */
export class RedisRuns {
  readonly #options: RedisRunsOptions
  readonly #byChannel = new Map<string, RunProcess>()

  constructor(options: RedisRunsOptions) {
    this.#options = options
  }

  join(process: RunProcess): RunLog {
    const { keys, subscriptions } = this.#options
    const channel = keys.runChannel(process.name)
    this.#byChannel.set(channel, process)
    void subscriptions.add(channel)
    const member: Member = { process, judgesFrom: 0, server: undefined }
    return {
      read: (sessionId, names) => this.#read(sessionId, names, process),
      change: (sessionId, change) => this.#change(sessionId, change, process),
      append: (sessionId, batch) => this.#append(sessionId, batch, process),
      renew: () => this.#orUnavailable(this.#renew(member)),
      overdue: () => this.#overdue(member),
      postpone: (overdue) => this.#orUnavailable(this.#postpone(overdue, process)),
    }
  }

  /** False: the channel is another's. */
  receive(channel: string, sessionId: string): boolean {
    const process = this.#byChannel.get(channel)
    process?.onWake(sessionId)
    return process !== undefined
  }

  async #read(sessionId: string, names: readonly string[], { waits, remembers }: RunProcess): Promise<RunPage> {
    const { link, keys, keep } = this.#options
    const given = [
      ...[keys.meta(sessionId), keys.log(sessionId), keys.runs(sessionId)],
      ...names.map((name) => keys.endedRun(sessionId, name)),
    ]
    const server = await this.#server()
    const [epoch, head, record, version, kept, now, ...flags] = await this.#about(
      sessionId,
      link.commands.holdlineRunPage(given.length, ...given, server, keep, waits + remembers),
    )
    return {
      epoch: String(epoch),
      head: Number(head),
      record: String(record),
      version: String(version),
      kept: Number(kept),
      ended: names.filter((_, index) => flags[index] === 1),
      now: Number(now),
    }
  }

  async #change(sessionId: string, change: RunChange, { lease, remembers, waits }: RunProcess) {
    const { link, keys } = this.#options
    const { version, next, token, events, keep, ended, holds, frees, wakes, due } = change
    const given = [
      ...[keys.meta(sessionId), keys.log(sessionId), keys.runs(sessionId), keys.runProcesses, keys.runsDue],
      ...ended.map((name) => keys.endedRun(sessionId, name)),
      ...[...holds, ...frees].map(keys.heldRuns),
    ]
    const common = await this.#common(sessionId)
    const [outcome, epoch, kept = 0, ...seqs] = await this.#about(
      sessionId,
      link.writer.holdlineRunChange(
        ...[given.length, ...given, ...common, sessionId, version, next.version, next.record, token],
        ...[typeof keep === 'number' ? keep + 1 : keep, due === undefined ? '' : Math.ceil(due)],
        ...[lease, remembers, waits, ended.length, holds.length, frees.length, wakes.length],
        ...[...holds, ...wakes.map(keys.runChannel), ...events],
      ),
    )
    if (outcome !== 'done') return undefined
    await this.#tell(sessionId, epoch, seqs, events)
    return { kept }
  }

  async #append(
    sessionId: string,
    { token, number, events }: RunBatch,
    { waits, remembers }: RunProcess,
  ): Promise<'appended' | 'lost' | 'full'> {
    const { link, keys } = this.#options
    const common = await this.#common(sessionId)
    const names = [keys.meta(sessionId), keys.log(sessionId), keys.runs(sessionId)]
    const [outcome, epoch, ...seqs] = await this.#about(
      sessionId,
      link.writer.holdlineRunBatch(names.length, ...names, ...common, token, number, waits + remembers, ...events),
    )
    if (outcome !== 'appended') return outcome === 'full' ? 'full' : 'lost'
    await this.#tell(sessionId, epoch, seqs, events)
    return 'appended'
  }

  /**
   * A process whose own lease has (almost) run out cannot tell the dead from those that were cut
   * off like itself, and gives them a lease to come back. A server that has started again, or was
   * promoted, may have forgotten that a run has ended.
   */
  async #renew(member: Member) {
    const { link, keys } = this.#options
    const { name, lease, waits, remembers, onWake } = member.process
    const held = keys.heldRuns(name)
    const from = await link.commands.holdlineRunRenew(keys.runProcesses, held, name, lease, waits + remembers)
    member.judgesFrom = Math.max(member.judgesFrom, from)
    const server = await link.server()
    if (server !== (member.server ?? server))
      for (const session of await link.commands.zrangebyscore(held, '-inf', '+inf')) onWake(session)
    member.server = server
  }

  async #overdue({ judgesFrom }: Member): Promise<readonly Overdue[]> {
    const { link, keys } = this.#options
    const names = [keys.runProcesses, keys.runsDue] as const
    const asking = link.commands.holdlineRunOverdue(...names, keys.heldRuns(''), MAX_OVERDUE, judgesFrom)
    return (await this.#orUnavailable(asking)).flatMap(([process = '', ...sessionIds]) =>
      sessionIds.map((sessionId) => ({ sessionId, process: process === '' ? undefined : process })),
    )
  }

  async #postpone({ sessionId, process }: Overdue, { lease }: RunProcess) {
    const { link, keys } = this.#options
    const held = keys.heldRuns(process ?? '')
    await link.commands.holdlineRunPostpone(keys.runProcesses, keys.runsDue, held, process ?? '', sessionId, lease)
  }

  /** The arguments that each script begins with which writes events. */
  async #common(sessionId: string): Promise<readonly (string | number)[]> {
    const { keys, keep, maxEvents, maxAge, maxSessionBytes } = this.#options
    const server = await this.#server()
    return [server, keep, crypto.randomUUID(), maxEvents, maxAge, keys.channel(sessionId), maxSessionBytes]
  }

  /**
   * The events are in the log. Repeats of a call, which give no numbers, wait for the replicas too.
   */
  async #tell(sessionId: string, epoch: string, seqs: readonly number[], events: readonly string[]) {
    const { link, keys, health, replicas, onAppended } = this.#options
    health.writes()
    for (const [index, seq] of seqs.entries()) onAppended(sessionId, epoch, seq, events[index] ?? '')
    const acknowledged =
      replicas > 0 ? await link.acknowledged(replicas, keys.meta(sessionId), Promise.resolve()) : replicas
    if (acknowledged < replicas)
      throw new Error(`redisLog: ${acknowledged} of ${replicas} replicas have the run, so it may still be lost`)
  }

  #server() {
    return this.#orUnavailable(this.#options.link.server())
  }

  /** Rejects with `Refusal` 503, and it is told why. */
  async #about<T>(sessionId: string, asking: Promise<T>): Promise<T> {
    const { health } = this.#options
    try {
      const answer = await asking
      health.hasRead(sessionId)
      return answer
    } catch (error) {
      throw health.cannotRead(sessionId, error) ? unavailable() : health.fails(error)
    }
  }

  async #orUnavailable<T>(asking: Promise<T>): Promise<T> {
    try {
      return await asking
    } catch (error) {
      throw this.#options.health.fails(error)
    }
  }
}
