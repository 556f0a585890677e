import { setTimeout as sleep } from 'node:timers/promises'
import { createDice, type Dice } from '../chaos/dice'
import { overIpc, type Remote } from '../load/remote'
import { check, type Log, whatOf } from './check'
import { type Clients, type ClientsOptions, isOfRuns, sessionsOf } from './clients'
import { createMishaps, type Mishaps, schedule } from './mishaps'
import { HISTORY, Producer } from './producer'
import { createPrograms, type Programs } from './programs'
import { countEnds, isActive } from './runs'
import { memoryWorld, redisWorld, shardsWorld, type World } from './world'

export interface RunOptions {
  /**
   * `shards`: three of a Redis Cluster. Without Redis there is one node, and nothing is done to it.
   */
  readonly log: 'redis' | 'shards' | 'memory'
  readonly clients: number
  readonly kills: number
  readonly cuts: number
  /** How often Redis comes back with nothing, or a primary is replaced by its replica. */
  readonly restarts: number
  /** How often a slot moves to another shard. Default: 0. */
  readonly moves?: number
  /** Whether shards have no replicas. Default: false. */
  readonly isLone?: boolean
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

type Logs = Readonly<Record<string, Log>>

/** What a run is played with. */
interface Stage {
  readonly world: World
  readonly producer: Producer
  readonly clients: Remote<Clients>
  readonly mishaps: Mishaps | undefined
}

const NODES = 3
/** Between two nodes of the rolling restart, ms. */
const BREATH = 1_000
/** Without a verdict or an event for this long nothing will come any more, ms. */
const STUCK = 30_000

/** Real clients, real nodes, a real Redis, and what the seed does to them. */
export async function run(options: RunOptions): Promise<Outcome> {
  const clusterRun = new ClusterRun(options)
  try {
    return await clusterRun.play()
  } finally {
    await clusterRun.cleanUp()
  }
}

class ClusterRun {
  readonly #options: RunOptions
  readonly #dice: Dice
  readonly #sessionIds: readonly string[]
  readonly #surprises: string[] = []
  readonly #counts: Record<string, number> = {}
  readonly #cleanups: (() => unknown)[] = []
  /** Nodes have come or gone. */
  #onChange = () => {}

  constructor(options: RunOptions) {
    const { clients, seed } = options
    this.#options = options
    this.#dice = createDice(seed)
    this.#sessionIds = [...new Set(Array.from({ length: clients }, (_, client) => sessionsOf(client, clients)).flat())]
  }

  async play(): Promise<Outcome> {
    const stage = await this.#set()
    await this.#disturb(stage)
    await this.#restartInTurn(stage)
    await this.#letEnd(stage)
    await this.#heardAll(stage)
    // What might come twice has its chance now.
    await stage.clients.reconnect()
    await this.#untilOpen('the last resume', stage.clients)
    return this.#judge(stage, await this.#heardAll(stage))
  }

  async cleanUp() {
    for (const cleanup of this.#cleanups.reverse()) await cleanup()
  }

  async #set(): Promise<Stage> {
    const programs = await createPrograms()
    this.#cleanups.push(programs.remove)
    const world = await this.#createWorld(programs)
    this.#cleanups.push(world.close)
    const producer = new Producer({
      world,
      dice: this.#dice,
      sessionIds: this.#sessionIds,
      clients: this.#options.clients,
      onRejected: () => this.#tally('appends that were rejected'),
    })
    await producer.fill()
    const clients = await this.#startClients(programs, world)
    const mishaps = world.cluster && createMishaps(world.cluster, (what, times) => this.#tally(what, times))
    this.#cleanups.push(() => mishaps?.returned())
    this.#onChange = () => void clients.reach(world.cluster?.nodes.up() ?? [])
    this.#cleanups.push(() => {
      this.#onChange = () => {}
    })
    return { world, producer, clients, mishaps }
  }

  #createWorld(programs: Programs): Promise<World> {
    const onSurprise = (what: string) => void this.#surprises.push(what)
    const { log, isLone = false } = this.#options
    if (log === 'memory') return memoryWorld(onSurprise)
    const options = { count: NODES, programs, onChange: () => this.#onChange(), onSurprise }
    return log === 'redis' ? redisWorld(options) : shardsWorld(options, isLone)
  }

  async #startClients(programs: Programs, { ports }: World): Promise<Remote<Clients>> {
    const { clients: count, seed } = this.#options
    const options: ClientsOptions = { count, seed, ports, history: HISTORY }
    const child = programs.start('clientsProcess', options)
    this.#cleanups.push(() => child.kill())
    const clients = overIpc<Clients>(child)
    await this.#untilOpen('a line for everybody', clients)
    return clients
  }

  /** Everybody talks, and the mishaps of the seed come when they are due. */
  async #disturb({ producer, clients, mishaps }: Stage) {
    const { kills, cuts, restarts, moves = 0, seconds, onProgress } = this.#options
    await clients.talk()
    this.#cleanups.push(() => producer.stop())
    void producer.produce()

    const startedAt = performance.now()
    const elapsed = () => (performance.now() - startedAt) / 1_000
    const ticker = setInterval(() => onProgress?.(this.#told(), Math.min(1, elapsed() / seconds)), 250)
    this.#cleanups.push(() => clearInterval(ticker))
    for (const { at, name, nth } of schedule(
      this.#dice,
      { kill: kills, cut: cuts, restart: restarts, move: moves },
      seconds,
    )) {
      await sleep(Math.max(0, 1_000 * (at - elapsed())))
      await mishaps?.[name](this.#dice.draw(name, nth), nth)
    }
    await sleep(Math.max(0, 1_000 * (seconds - elapsed())))
    clearInterval(ticker)
    await mishaps?.returned()
  }

  async #restartInTurn({ world: { ports, cluster } }: Stage) {
    for (const index of cluster ? ports.keys() : []) {
      this.#options.onProgress?.(`a rolling restart, node ${index + 1}`, 1)
      await cluster?.nodes.drain(index)
      this.#tally('nodes drained')
      await sleep(BREATH)
    }
  }

  async #letEnd({ world, producer, clients }: Stage) {
    this.#options.onProgress?.('waiting for the last ones', 1)
    producer.stop()
    await clients.hush()
    await this.#until('the last verdict', clients, async () => {
      const { sent, settled } = await clients.look()
      return sent === settled
    })
    await producer.settled()
    // A process that died leaves its runs to the others.
    await this.#until('the last end of a run', clients, async () => {
      const logs = await Promise.all(this.#sessionIds.filter(isOfRuns).map(world.read))
      const { restarts, log } = this.#options
      const haveLostAll = restarts > 0 && log === 'redis'
      return haveLostAll || !logs.some(({ events }) => isActive(events.map(whatOf)))
    })
  }

  /** Returns what that was. */
  async #heardAll({ world, clients }: Stage): Promise<Logs> {
    const logs: Record<string, Log> = {}
    for (const sessionId of this.#sessionIds) logs[sessionId] = await world.read(sessionId)
    const heads = Object.fromEntries(Object.entries(logs).map(([sessionId, { events }]) => [sessionId, events.length]))
    await this.#until('the last event', clients, () => clients.haveReached(heads))
    return logs
  }

  async #judge({ producer: { appends }, clients, mishaps }: Stage, logs: Logs): Promise<Outcome> {
    const { restarts, moves = 0, log } = this.#options
    const { commands, heard, ...theirs } = await clients.result()
    const probes = mishaps?.probes ?? []
    this.#tally('commands', commands.length)
    for (const sessionId of this.#sessionIds.filter(isOfRuns))
      for (const [reason, times] of Object.entries(countEnds(logs[sessionId]?.events.map(whatOf) ?? [])))
        this.#tally(`runs ${reason}`, times)
    this.#tally('appends', appends.length)
    this.#tally('events heard', (await clients.look()).events)
    this.#tally('events in the log', Object.values(logs).flatMap(({ events }) => events).length)
    if (probes.length > 0)
      this.#tally('ms to the slowest 404 of a dead stream', Math.max(...probes.map(({ ms }) => Math.ceil(ms))))
    const surprises = [...this.#surprises, ...theirs.surprises]
    return {
      violations: check({
        restarts,
        moves,
        isSharded: log === 'shards',
        logs,
        commands,
        appends,
        heard,
        probes,
        surprises,
      }),
      counts: { ...this.#counts, ...theirs.counts },
    }
  }

  #tally(what: string, times = 1) {
    this.#counts[what] = (this.#counts[what] ?? 0) + times
  }

  #told(): string {
    return `${this.#counts['nodes killed'] ?? 0} kills, ${this.#counts.cuts ?? 0} cuts`
  }

  #untilOpen(what: string, clients: Remote<Clients>) {
    return this.#until(what, clients, async () => (await clients.look()).open === this.#options.clients)
  }

  async #until(what: string, clients: Remote<Clients>, holds: () => Promise<boolean>) {
    let seen = -1
    let movedAt = performance.now()
    while (!(await holds())) {
      const { settled, events } = await clients.look()
      if (settled + events !== seen) movedAt = performance.now()
      seen = settled + events
      if (performance.now() - movedAt > STUCK) {
        this.#surprises.push(`${what} does not come`, ...(await clients.complaints()))
        return
      }
      await sleep(50)
    }
  }
}
