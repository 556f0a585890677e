import { setTimeout as sleep } from 'node:timers/promises'
import type { Clients } from './clients'
import { type Histogram, merge } from './measure'
import type { NodeControl } from './node'
import type { Remote } from './remote'

export interface RunOptions {
  readonly nodes: readonly Remote<NodeControl>[]
  /** Each in a process of its own, if it is to be fast. */
  readonly groups: readonly Remote<Clients>[]
  readonly clients: number
  readonly sessions: readonly string[]
  /** Events per second, of all sessions together. */
  readonly rate: number
  readonly seconds: number
  /** Given up when nothing has moved for this long, ms. Default: 15,000. */
  readonly patience?: number
  onProgress?(progress: Progress): void
}

export interface Progress {
  readonly step: 'connecting' | 'publishing' | 'draining'
  readonly done: number
  readonly of: number
}

export interface Summary {
  readonly connected: number
  /** Times that a line was lost. */
  readonly closed: number
  readonly published: number
  /** Events that the server would not take. */
  readonly failed: number
  /** Events, times those who follow their session. */
  readonly expected: number
  readonly lost: number
  readonly doubled: number
  readonly disordered: number
  /** From the tick that an event was due in to the listener of the app, ms. */
  readonly latencies: Histogram
  /** How long it took to publish them all, s. */
  readonly seconds: number
  /** Of one core each, while there was something to publish: 1 is all of it. */
  readonly nodeCpu: readonly number[]
  readonly clientCpu: readonly number[]
  /** Bytes that each node has grown by with its clients, before any event. */
  readonly rss: readonly number[]
}

const LOOK = 250

export const run = (options: RunOptions): Promise<Summary> => new LoadRun(options).play()

/** What producing took, ms of the clock and, of each process, µs of a core. */
interface Cost {
  readonly took: number
  readonly nodes: readonly number[]
  readonly groups: readonly number[]
}

class LoadRun {
  readonly #options: RunOptions

  constructor(options: RunOptions) {
    this.#options = options
  }

  async play(): Promise<Summary> {
    const { nodes, clients, sessions } = this.#options
    const rssBefore = await ask(nodes, (node) => node.rss())
    const connected = await this.#connect()
    const rssAfter = await ask(nodes, (node) => node.rss())
    const cost = await this.#produce()
    const sent: Record<string, number> = Object.assign({}, ...(await ask(nodes, (node) => node.sent())))
    const expected = sum([...Array(clients).keys()], (client) => sent[sessions[client % sessions.length] ?? ''] ?? 0)
    await this.#drain(expected)
    return {
      connected,
      expected,
      ...(await this.#judge(sent)),
      nodeCpu: sharesOf(cost.nodes, cost.took),
      clientCpu: sharesOf(cost.groups, cost.took),
      rss: rssAfter.map((rss, index) => rss - (rssBefore[index] ?? 0)),
    }
  }

  /** How many that are: all of them. */
  async #connect(): Promise<number> {
    const { groups, clients } = this.#options
    const opening = ask(groups, (group) => group.open())
    // Whoever could not open has been told below.
    opening.catch(() => {})
    const connected = await this.#follow('connecting', clients, async () => {
      const open = sum(await ask(groups, (group) => group.look()), ({ open }) => open)
      return { done: open, isOver: open === clients }
    })
    if (connected < clients) throw new Error(`only ${connected} of ${clients} clients could connect`)
    await opening
    return connected
  }

  async #produce(): Promise<Cost> {
    const { nodes, sessions, rate, seconds } = this.#options
    const startedAt = performance.now()
    const [nodesBefore, groupsBefore] = await this.#cpuTimes()
    await ask(nodes, (node, index) =>
      node.produce({
        // Not where its clients are, if they are one to a session: an event has to cross from node
        // to node.
        sessions: sessions.filter((_, session) => (session + 1) % nodes.length === index),
        rate: rate / nodes.length,
        seconds,
      }),
    )
    await this.#follow('publishing', Math.round(rate * seconds), async () => {
      const looks = await ask(nodes, (node) => node.look())
      return {
        done: sum(looks, ({ published, failed }) => published + failed),
        isOver: looks.every(({ isDone }) => isDone),
      }
    })
    const took = performance.now() - startedAt
    const [nodesAfter, groupsAfter] = await this.#cpuTimes()
    return { took, nodes: less(nodesAfter, nodesBefore), groups: less(groupsAfter, groupsBefore) }
  }

  #drain(expected: number): Promise<number> {
    return this.#follow('draining', expected, async () => {
      const received = sum(await ask(this.#options.groups, (group) => group.look()), ({ received }) => received)
      return { done: received, isOver: received >= expected }
    })
  }

  async #judge(sent: Readonly<Record<string, number>>) {
    const { nodes, groups } = this.#options
    const verdicts = await ask(groups, (group) => group.judge(sent))
    const looks = await ask(nodes, (node) => node.look())
    return {
      closed: sum(verdicts, ({ closed }) => closed),
      published: sum(looks, ({ published }) => published),
      failed: sum(looks, ({ failed }) => failed),
      lost: sum(verdicts, ({ lost }) => lost),
      doubled: sum(verdicts, ({ doubled }) => doubled),
      disordered: sum(verdicts, ({ disordered }) => disordered),
      latencies: merge(verdicts.map(({ latencies }) => latencies)),
      seconds: Math.max(...looks.map(({ took }) => took)) / 1_000,
    }
  }

  async #cpuTimes() {
    const { nodes, groups } = this.#options
    return [await ask(nodes, (node) => node.cpu()), await ask(groups, (group) => group.cpu())] as const
  }

  /** Looks until it is over, or nothing moves any more. */
  async #follow(
    step: Progress['step'],
    of: number,
    look: () => Promise<{ readonly done: number; readonly isOver: boolean }>,
  ): Promise<number> {
    const { patience = 15_000, onProgress } = this.#options
    let last = -1
    let movedAt = performance.now()
    for (;;) {
      const { done, isOver } = await look()
      onProgress?.({ step, done, of })
      if (done !== last) movedAt = performance.now()
      last = done
      if (isOver || performance.now() - movedAt > patience) return done
      await sleep(LOOK)
    }
  }
}

const less = (after: readonly number[], before: readonly number[]) =>
  after.map((cpu, index) => cpu - (before[index] ?? 0))
/** Of one core each. `cpu`: µs; `took`: ms. */
const sharesOf = (cpu: readonly number[], took: number) => cpu.map((time) => time / 1_000 / took)
const ask = <T, R>(all: readonly T[], question: (one: T, index: number) => Promise<R>) => Promise.all(all.map(question))
const sum = <T>(all: readonly T[], count: (one: T) => number) => all.reduce((total, one) => total + count(one), 0)
