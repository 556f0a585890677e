import { pageLifecycle } from '../../adapters/pageLifecycle'
import type { Connection, ConnectionEvents } from '../../connection/api'
import type { ConnectionOptions } from '../../connection/options'
import { createConnection } from '../../createConnection'
import type { StorageLike } from '../../environment'
import type { ConnectionError } from '../../errors'
import type { Phase } from '../../machine/types'
import type { JsonObject } from '../../protocol'
import type { Behaviour, TestServer } from './behaviourChain'
import { createNetwork, type NetworkOptions, type TestPost, type TestStream } from './network'
import { createPage, type TestPage } from './page'
import { seededRandom } from './random'
import { FakeServer, type TestServerOptions } from './testServer'
import { createVirtualTime, settles, type VirtualTime } from './virtualClock'
import { createStorage, createVisit, type Visit } from './visit'

/** What a connection touches of the world; to be spread into its options. */
export type Environment = {
  readonly [Option in 'url' | 'fetch' | 'createEventSource' | 'clock' | 'random' | 'pageLifecycle']: NonNullable<
    ConnectionOptions[Option]
  >
}

export interface HarnessOptions extends TestServerOptions {
  /**
   * The connection under test; called again by `reloads()`. `storage` is what the browser keeps of
   * the page: `createConnection({ ...environment, storage: persist(storage) })`. Default:
   * `createConnection(environment)`.
   */
  readonly create?: (environment: Environment, storage: StorageLike) => Connection<never, never> | Connection
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
export interface Observer extends Partial<Omit<NetworkOptions, 'now' | 'ignoresAbort' | 'isOver'>> {
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
  /** That of the page as it was loaded last. */
  readonly connection: Connection
  readonly server: TestServer
  readonly time: VirtualTime
  readonly page: TestPage
  /** Like `localStorage`: it is still there after `reloads()`. */
  readonly storage: StorageLike
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
  /**
   * The page is gone as in a crash: nothing of it is told, and nothing of it goes on. `create`
   * makes the connection of the next one; server, time and storage stay. An oracle watches one
   * page.
   */
  reloads(): Connection
}

/**
 * A real connection in a world that the test owns: EventSource, fetch, time, chance and the page.
 * Nothing sleeps, nothing is left to chance.
 */
export const createHarness = (options: HarnessOptions = {}): Harness => new TestHarness(options)

class TestHarness implements Harness {
  /** That of the page as it was loaded last. */
  connection: Connection
  readonly server: FakeServer
  readonly time: VirtualTime
  readonly page = createPage()
  readonly storage = createStorage()
  readonly streams: TestStream[] = []
  readonly posts: TestPost[] = []
  readonly told: Told[] = []
  readonly messages: JsonObject[] = []
  readonly #options: HarnessOptions
  readonly #draw: () => number
  readonly #observers: Observer[] = []
  #visit: Visit

  constructor(options: HarnessOptions) {
    const { server = [], seed = 1 } = options
    this.#options = options
    this.#draw = options.random ?? seededRandom(seed)
    this.time = createVirtualTime(this.settles)
    this.server = new FakeServer(options, Array.isArray(server) ? server : [server], this.time.outside)
    this.#visit = createVisit(this.time.clock)
    this.connection = this.#load()
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

  readonly reloads = () => {
    this.#visit.end()
    this.page.unloads()
    this.#visit = createVisit(this.time.clock)
    this.connection = this.#load()
    return this.connection
  }

  #load(): Connection {
    const { create = createConnection } = this.#options
    const { clock } = this.#visit
    const connection = create(
      {
        ...this.#createNetwork(),
        url: 'http://harness.test/api/chat',
        clock,
        random: this.random,
        pageLifecycle: pageLifecycle(clock, this.page),
      },
      // An object of this page's own, for the same entries: `persist` knows pages by it.
      Object.create(this.storage),
    ) as Connection
    for (const name of NAMES) {
      connection.on(name, (event) => this.told.push({ name, event, at: this.time.clock.now() } as Told))
    }
    connection.on('message', (message) => this.messages.push(message))
    return connection
  }

  #createNetwork() {
    const observers = this.#observers
    return createNetwork({
      now: this.time.clock.now,
      ignoresAbort: this.#options.ignoresAbort ?? false,
      isOver: this.#visit.isOver,
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
