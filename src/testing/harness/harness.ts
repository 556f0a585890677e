import { pageLifecycle } from '../../adapters/pageLifecycle'
import type { Connection, ConnectionEvents } from '../../connection/api'
import type { ConnectionOptions } from '../../connection/options'
import { createConnection } from '../../createConnection'
import type { StorageLike } from '../../environment'
import type { ConnectionError } from '../../errors'
import type { Phase } from '../../machine/types'
import type { JsonObject } from '../../protocol'
import { createNetwork, type NetworkOptions, type TestPost, type TestStream } from './network'
import { createPage, type TestPage } from './page'
import { seededRandom } from './random'
import { type Behaviour, createTestServer, type TestServer, type TestServerOptions } from './testServer'
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
export function createHarness(options: HarnessOptions = {}): Harness {
  const { create = createConnection, server: behaviours = [], seed = 1, ignoresAbort = false } = options
  const draw = options.random ?? seededRandom(seed)
  const observers: Observer[] = []
  const time = createVirtualTime(settleAll)
  const page = createPage()
  const streams: TestStream[] = []
  const posts: TestPost[] = []
  const told: Told[] = []
  const messages: JsonObject[] = []
  const chain = Array.isArray(behaviours) ? behaviours : [behaviours]
  const { server, onStream, onPost } = createTestServer(options, chain, time.outside)
  const network: Omit<NetworkOptions, 'isOver'> = {
    now: time.clock.now,
    ignoresAbort,
    onStream(stream) {
      streams.push(stream)
      for (const observer of observers) observer.onStream?.(stream)
      onStream(stream)
    },
    onPost(post) {
      posts.push(post)
      for (const observer of observers) observer.onPost?.(post)
      onPost(post)
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
  }
  const random = () => {
    const value = draw()
    for (const observer of observers) observer.onDraw?.(value)
    return value
  }
  const storage = createStorage()
  let visit: Visit
  let connection: Connection

  function load(): Connection {
    visit = createVisit(time.clock)
    const { clock, isOver } = visit
    connection = create(
      {
        ...createNetwork({ ...network, isOver }),
        url: 'http://harness.test/api/chat',
        clock,
        random,
        pageLifecycle: pageLifecycle(clock, page),
      },
      storage,
    ) as Connection
    for (const name of NAMES) {
      connection.on(name, (event) => told.push({ name, event, at: time.clock.now() } as Told))
    }
    connection.on('message', (message) => messages.push(message))
    return connection
  }
  load()

  async function settleAll() {
    await settles()
    for (const observer of observers) observer.onSettled?.()
  }

  const last = <Item>(items: readonly Item[], what: string): Item => {
    const item = items.at(-1)
    if (item === undefined) throw new Error(`holdline harness: ${what}`)
    return item
  }

  async function reaches(phase: Phase) {
    await settleAll()
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

  return {
    get connection() {
      return connection
    },
    server,
    time,
    page,
    storage,
    random,
    streams,
    posts,
    told,
    messages,
    get stream() {
      return last(streams, 'no stream was opened')
    },
    post: (endpoint) =>
      last(
        posts.filter((post) => post.endpoint === endpoint),
        `nothing was posted to ${endpoint}`,
      ),
    observe: (observer) => void observers.push(observer),
    settles: settleAll,
    passes: time.passes,
    opens() {
      if (connection.phase === 'idle') connection.connect()
      return reaches('open')
    },
    reaches,
    reloads() {
      visit.end()
      page.unloads()
      return load()
    },
  }
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
