import { setTimeout as sleep } from 'node:timers/promises'
import { createDice, oneOf } from '../chaos/dice'
import { overIpc, type Remote } from '../load/remote'
import { type Append, check, type Log, whatOf } from './check'
import { type Clients, type ClientsOptions, isOfRuns, sessionsOf, sharedOf } from './clients'
import { createMishaps, schedule } from './mishaps'
import { eventOf } from './node'
import { createPrograms } from './programs'
import { countEnds, isActive } from './runs'
import { memoryWorld, redisWorld, type World } from './world'

export interface RunOptions {
  /** Without Redis there is one node, and nothing is done to it. */
  readonly log: 'redis' | 'memory'
  readonly clients: number
  readonly kills: number
  readonly cuts: number
  /** How often Redis comes back with nothing. */
  readonly restarts: number
  /** How long all this takes. The rolling restart comes after it. */
  readonly seconds: number
  readonly seed: number
  /** `share` is 0 to 1. */
  onProgress?(step: string, share: number): void
}
export interface Outcome {
  /** The rules that did not hold. */
  readonly violations: readonly string[]
  readonly counts: Readonly<Record<string, number>>
}

const NODES = 3
/** Events that are in each session before anybody comes. */
const HISTORY = 5
/** About how long the producer waits between two events, ms. */
const PAUSE = 20
/** Between two nodes of the rolling restart, ms. */
const BREATH = 1_000
/** Without a verdict or an event for this long nothing will come any more, ms. */
const STUCK = 30_000

/** Real clients, real nodes, a real Redis, and what the seed does to them. */
export async function run(options: RunOptions): Promise<Outcome> {
  const { log, clients: count, kills, cuts, restarts, seconds, seed, onProgress = () => {} } = options
  const dice = createDice(seed)
  const sessionIds = [...new Set(Array.from({ length: count }, (_, client) => sessionsOf(client, count)).flat())]
  const appends: Writable<Append>[] = []
  const appending: Promise<void>[] = []
  const surprises: string[] = []
  const counts: Record<string, number> = {}
  const tally = (what: string, times = 1) => {
    counts[what] = (counts[what] ?? 0) + times
  }

  const cleanups: (() => unknown)[] = []
  try {
    return await play()
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup()
  }

  async function play(): Promise<Outcome> {
    const programs = await createPrograms()
    cleanups.push(programs.remove)
    const onSurprise = (what: string) => void surprises.push(what)
    let onChange = () => {}
    const world = await (log === 'redis'
      ? redisWorld({ count: NODES, programs, onChange: () => onChange(), onSurprise })
      : memoryWorld(onSurprise))
    cleanups.push(world.close)
    for (const sessionId of sessionIds) for (let n = 1; n <= HISTORY; n++) await append(world, sessionId, n)

    const { ports, cluster } = world
    const options: ClientsOptions = { count, seed, ports, history: HISTORY }
    const child = programs.start('clientsProcess', options)
    cleanups.push(() => child.kill())
    const clients = overIpc<Clients>(child)
    await until('a line for everybody', clients, async () => (await clients.look()).open === count)

    const mishaps = cluster && createMishaps(cluster, tally)
    cleanups.push(() => mishaps?.returned())
    onChange = () => void clients.reach(cluster?.nodes.up() ?? [])
    cleanups.push(() => {
      onChange = () => {}
    })
    await clients.talk()
    const producing = new AbortController()
    cleanups.push(() => producing.abort())
    void produce(world, producing.signal)

    const startedAt = performance.now()
    const elapsed = () => (performance.now() - startedAt) / 1_000
    const ticker = setInterval(() => onProgress(...told(elapsed() / seconds)), 250)
    cleanups.push(() => clearInterval(ticker))
    for (const { at, name, nth } of schedule(dice, { kill: kills, cut: cuts, restart: restarts }, seconds)) {
      await sleep(Math.max(0, 1_000 * (at - elapsed())))
      await mishaps?.[name](dice.draw(name, nth), nth)
    }
    await sleep(Math.max(0, 1_000 * (seconds - elapsed())))
    clearInterval(ticker)

    await mishaps?.returned()
    for (const index of cluster ? ports.keys() : []) {
      onProgress(`a rolling restart, node ${index + 1}`, 1)
      await cluster?.nodes.drain(index)
      tally('nodes drained')
      await sleep(BREATH)
    }

    onProgress('waiting for the last ones', 1)
    producing.abort()
    await clients.hush()
    await until('the last verdict', clients, async () => {
      const { sent, settled } = await clients.look()
      return sent === settled
    })
    await Promise.all(appending)
    // A process that died leaves its runs to the others.
    await until('the last end of a run', clients, async () => {
      const logs = await Promise.all(sessionIds.filter(isOfRuns).map(world.read))
      return restarts > 0 || !logs.some(({ events }) => isActive(events.map(whatOf)))
    })
    await heardAll(world, clients)
    // What might come twice has its chance now.
    await clients.reconnect()
    await until('the last resume', clients, async () => (await clients.look()).open === count)
    const logs = await heardAll(world, clients)

    const { commands, heard, ...theirs } = await clients.result()
    const probes = mishaps?.probes ?? []
    tally('commands', commands.length)
    for (const sessionId of sessionIds.filter(isOfRuns))
      for (const [reason, times] of Object.entries(countEnds(logs[sessionId]?.events.map(whatOf) ?? [])))
        tally(`runs ${reason}`, times)
    tally('appends', appends.length)
    tally('events heard', (await clients.look()).events)
    tally('events in the log', Object.values(logs).flatMap(({ events }) => events).length)
    if (probes.length > 0)
      tally('ms to the slowest 404 of a dead stream', Math.max(...probes.map(({ ms }) => Math.ceil(ms))))
    surprises.push(...theirs.surprises)
    return {
      violations: check({ restarts, logs, commands, appends, heard, probes, surprises }),
      counts: { ...counts, ...theirs.counts },
    }
  }

  async function append(world: World, sessionId: string, n: number) {
    const record: Writable<Append> = { sessionId, what: `p${n}` }
    appends.push(record)
    try {
      const { epoch, seq } = await world.publish(sessionId, eventOf(record.what, n))
      record.place = { epoch, seq }
    } catch {
      tally('appends that were rejected')
    }
  }

  async function produce(world: World, over: AbortSignal) {
    const random = dice.draw('producer')
    for (let n = HISTORY + 1; !over.aborted; n++) {
      const isCrowded = random() < 0.5
      const sessionId = isCrowded ? sharedOf(Math.floor(count * random()), count) : oneOf(random, sessionIds)
      appending.push(append(world, sessionId, n))
      await sleep(2 * PAUSE * random())
    }
  }

  function told(share: number) {
    return [`${counts['nodes killed'] ?? 0} kills, ${counts.cuts ?? 0} cuts`, Math.min(1, share)] as const
  }

  /** Returns what that was. */
  async function heardAll(world: World, clients: Remote<Clients>) {
    const logs: Record<string, Log> = {}
    for (const sessionId of sessionIds) logs[sessionId] = await world.read(sessionId)
    const heads = Object.fromEntries(Object.entries(logs).map(([sessionId, { events }]) => [sessionId, events.length]))
    await until('the last event', clients, () => clients.haveReached(heads))
    return logs
  }

  async function until(what: string, clients: Remote<Clients>, holds: () => Promise<boolean>) {
    let seen = -1
    let movedAt = performance.now()
    while (!(await holds())) {
      const { settled, events } = await clients.look()
      if (settled + events !== seen) movedAt = performance.now()
      seen = settled + events
      if (performance.now() - movedAt > STUCK) {
        surprises.push(`${what} does not come`, ...(await clients.complaints()))
        return
      }
      await sleep(50)
    }
  }
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] }
