import { pageLifecycle } from '../../adapters/pageLifecycle'
import type { Connection, ConnectionEvents } from '../../connection/api'
import type { ConnectionOptions } from '../../connection/options'
import { createConnection } from '../../createConnection'
import type { ConnectionError } from '../../errors'
import type { Phase } from '../../machine/types'
import type { JsonObject } from '../../protocol'
import type { Behaviour, TestServer } from './behaviourChain'
import { createNetwork, type NetworkOptions, type TestPost, type TestStream } from './network'
import { createPage, type TestPage } from './page'
import { seededRandom } from './random'
import { FakeServer, type TestServerOptions } from './testServer'
import { createVirtualTime, settles, type VirtualTime } from './virtualClock'

/** What a connection touches of the world; to be spread into its options. */
export type Environment = {
  readonly [Option in 'url' | 'fetch' | 'createEventSource' | 'clock' | 'random' | 'pageLifecycle']: NonNullable<
    ConnectionOptions[Option]
  >
}

export interface HarnessOptions extends TestServerOptions {
  /** The connection under test. Default: `createConnection(environment)`. */
  readonly create?: (environment: Environment) => Connection<never, never> | Connection
  /** What goes wrong, in order of precedence. Default: nothing. */
  readonly server?: Behaviour | readonly Behaviour[]
  /** Of the jitter. Default 1. */
  readonly seed?: number
  /** In place of the seeded one. */
  readonly random?: () => number
  /**
   * Requests go on after they were aborted, as with a `fetch` that knows no signals: late answers
   * arrive. Default false.
   */
  readonly ignoresAbort?: boolean
}

/** Told of what happens around the connection, in the very tick. */
export interface Observer extends Partial<Omit<NetworkOptions, 'now' | 'ignoresAbort'>> {
  /** The connection has drawn a number. */
  onDraw?(value: number): void
  /** Everything that can happen without time passing has happened. */
  onSettled?(): void
}

/** One public event, and when it was told, ms since the epoch. */
export type Told = {
  readonly [Name in keyof ConnectionEvents]: {
    readonly name: Name
    readonly event: ConnectionEvents[Name]
    readonly at: number
  }
}[keyof ConnectionEvents]

const NAMES: readonly (keyof ConnectionEvents)[] = [
  'message',
  'opened',
  'closed',
  'stopped',
  'phase',
  'session',
  'delivery',
  'refused',
  'error',
]
/** A harness that waits for something gives up after this much virtual time, ms. */
const PATIENCE = 3_600_000

export interface Harness {
  readonly connection: Connection
  readonly server: TestServer
  readonly time: VirtualTime
  readonly page: TestPage
  /** What the connection may draw its jitter from. */
  readonly random: () => number
  /** Every EventSource that was made, oldest first. */
  readonly streams: readonly TestStream[]
  /** The latest of them. */
  readonly stream: TestStream
  /** Every POST. */
  readonly posts: readonly TestPost[]
  /** The latest POST to an endpoint. Throws if there was none. */
  post(endpoint: string): TestPost
  /** Every public event, in the order in which they were told. */
  readonly told: readonly Told[]
  /** The messages that the listeners of the connection were given. */
  readonly messages: readonly JsonObject[]
  observe(observer: Observer): void
  /** Everything that can happen without time passing happens. */
  settles(): Promise<void>
  passes(ms: number): Promise<void>
  /** Connects, and lets time pass until the line is open. */
  opens(): Promise<void>
  /** Lets time pass, from timer to timer, until the phase is reached. Throws if it never is. */
  reaches(phase: Phase): Promise<void>
}

/**
 * A real connection in a world that the test owns: EventSource, fetch, time, chance and the page.
 * Nothing sleeps, nothing is left to chance.
 */
export const createHarness = (options: HarnessOptions = {}): Harness => new TestHarness(options)

class TestHarness implements Harness {
  readonly connection: Connection
  readonly server: FakeServer
  readonly time: VirtualTime
  readonly page = createPage()
  readonly streams: TestStream[] = []
  readonly posts: TestPost[] = []
  readonly told: Told[] = []
  readonly messages: JsonObject[] = []
  readonly #draw: () => number
  readonly #observers: Observer[] = []

  constructor(options: HarnessOptions) {
    const { create = createConnection, server = [], seed = 1 } = options
    this.#draw = options.random ?? seededRandom(seed)
    this.time = createVirtualTime(this.settles)
    this.server = new FakeServer(options, Array.isArray(server) ? server : [server], this.time.outside)
    const { clock } = this.time
    this.connection = create({
      ...this.#createNetwork(options.ignoresAbort),
      url: 'http://harness.test/api/chat',
      clock,
      random: this.random,
      pageLifecycle: pageLifecycle(clock, this.page),
    }) as Connection
    for (const name of NAMES) {
      this.connection.on(name, (event) => this.told.push({ name, event, at: clock.now() } as Told))
    }
    this.connection.on('message', (message) => this.messages.push(message))
  }

  get stream(): TestStream {
    return last(this.streams, 'no stream was opened')
  }

  readonly random = () => {
    const value = this.#draw()
    for (const observer of this.#observers) observer.onDraw?.(value)
    return value
  }

  readonly post = (endpoint: string) =>
    last(
      this.posts.filter((post) => post.endpoint === endpoint),
      `nothing was posted to ${endpoint}`,
    )

  readonly observe = (observer: Observer) => void this.#observers.push(observer)

  readonly settles = async () => {
    await settles()
    for (const observer of this.#observers) observer.onSettled?.()
  }

  readonly passes = (ms: number) => this.time.passes(ms)

  readonly opens = () => {
    if (this.connection.phase === 'idle') this.connection.connect()
    return this.reaches('open')
  }

  readonly reaches = async (phase: Phase) => {
    await this.settles()
    const { connection, time, told } = this
    const until = time.clock.now() + PATIENCE
    while (connection.phase !== phase) {
      if (time.next > until) {
        const { phase: now, lastError } = connection
        throw new Error(
          `holdline harness: ${phase} was not reached, it is ${now}${why(lastError)}\n${describe(told)}`,
          { cause: lastError },
        )
      }
      await time.passes(Math.max(0, time.next - time.clock.now()))
    }
  }

  #createNetwork(ignoresAbort = false) {
    const observers = this.#observers
    return createNetwork({
      now: this.time.clock.now,
      ignoresAbort,
      onStream: (stream) => {
        this.streams.push(stream)
        for (const observer of observers) observer.onStream?.(stream)
        this.server.onStream(stream)
      },
      onPost: (post) => {
        this.posts.push(post)
        for (const observer of observers) observer.onPost?.(post)
        this.server.onPost(post)
      },
      onFrame(...frame) {
        const after = observers.map((observer) => observer.onFrame?.(...frame))
        return () => {
          for (const then of after) then?.()
        }
      },
      onAnswer(...answer) {
        for (const observer of observers) observer.onAnswer?.(...answer)
      },
    })
  }
}

function last<Item>(items: readonly Item[], what: string): Item {
  const item = items.at(-1)
  if (item === undefined) throw new Error(`holdline harness: ${what}`)
  return item
}

const why = (error: ConnectionError | null) =>
  error ? `: ${error.code}, ${error.message}${error.cause === undefined ? '' : `, ${error.cause}`}` : ''

/** The last events, a line each. */
function describe(told: readonly Told[]): string {
  return told
    .slice(-20)
    .map(({ name, event }) => `  ${name} ${JSON.stringify(event)}`)
    .join('\n')
}
