import type { Connection } from '../../connection/api'
import type { OutboundMessage } from '../../connection/messages'
import type { ConnectionOptions } from '../../connection/options'
import { createConnection } from '../../createConnection'
import { FEATURES, type Feature, type JsonObject } from '../../protocol'
import { serverIsSilent } from '../harness/behaviours'
import { createHarness, type Environment, type Harness } from '../harness/harness'
import { watchInvariants } from '../oracle/invariants'
import { App } from './app'
import { overlooked } from './overlooked'
import { SteppedServer } from './steppedServer'

export interface WorldOptions {
  /** The connection under test. Default: `createConnection(environment)`. */
  readonly create?: (
    environment: Environment & Pick<ConnectionOptions, 'headers'>,
  ) => Connection<never, never> | Connection
  /** What the server announces. Default: all of them. */
  readonly features?: readonly Feature[]
  /** ms. Default: none announced. */
  readonly heartbeat?: number
  /**
   * What an event of a session looks like, without `sessionId` and `seq`. Default `{ type: 'token'
   * }`.
   */
  readonly event?: JsonObject
  /** What the app sends. Default: a `send`. */
  readonly message?: OutboundMessage
  /**
   * How often what would let the states grow without end can happen. Default: 2 messages and 3
   * events.
   */
  readonly atMost?: { readonly messages?: number; readonly events?: number }
}

export type Course = ReturnType<typeof begin>

/** A world without its end. */
export function begin(options: WorldOptions) {
  const { create = createConnection, features = FEATURES, heartbeat, event = { type: 'token' } } = options
  const { message = { type: 'send', prompt: 'hello' } } = options
  /**
   * When the timers of the connection are due, the wall-clock looks of the page lifecycle apart.
   */
  const timers = new Map<unknown, number>()
  const hook = createHook()
  const harness = createHarness({
    server: serverIsSilent(),
    // Full jitter with a constant: states that differ in nothing but luck are one.
    random: () => 0.5,
    ignoresAbort: true,
    create: (environment) =>
      create({ ...environment, clock: overlooked(environment.clock, timers), headers: hook.headers }),
  })
  const { connection, time } = harness
  const oracle = watchInvariants(harness, { isPreparing: () => hook.waiting() > 0 })
  const app = new App({ harness, message, report: oracle.report })
  const server = new SteppedServer({ harness, features, heartbeat, event })
  const signs = watchSigns(harness, server)
  const sight = watchSight(harness)

  return {
    ...app,
    ...server,
    harness,
    connection,
    oracle,
    features,
    heartbeat,
    event,
    timers,
    atMost: { messages: 2, events: 3, ...options.atMost },
    isVisible: sight.isVisible,
    hides: sight.hides,
    letHeadersCome: hook.letCome,
    letHeadersWait: hook.letWait,
    /** Time passes until the next timer fires. */
    passes: () => time.passes(Math.max(0, Math.min(...timers.values()) - time.clock.now())),
    /**
     * Facts that the connection remembers and does not show, as far as they can be told from
     * outside.
     */
    memory: () => ({
      isSlow: hook.isSlow(),
      throwsLeft: app.throwsLeft(),
      wanting: hook.waiting(),
      refusals: signs.refusals(),
      silentFor: signs.silentFor(),
      hiddenFor: sight.hiddenFor(),
      fruitless: server.fruitless(),
      holds: app.holdsOf('s1'),
    }),
  }
}

/** What the server has given to be remembered. */
function watchSigns({ observe, time }: Harness, { live }: SteppedServer) {
  const { now } = time.clock
  /** 401s since the last 2xx. */
  let refusals = 0
  let lastSign = 0
  observe({
    onFrame(stream) {
      if (stream === live()?.stream) lastSign = now()
    },
    onAnswer(_, { status }) {
      if (status === 401) refusals++
      else if (status >= 200 && status < 300) refusals = 0
    },
  })
  return { refusals: () => refusals, silentFor: () => now() - lastSign }
}

/** Whether the page is seen; if not, for how long it was not, ms, up to a minute. */
function watchSight({ page, time }: Harness) {
  const { now } = time.clock
  let hiddenSince = 0
  const isVisible = () => page.document?.visibilityState === 'visible'
  return {
    isVisible,
    hides() {
      hiddenSince = now()
      page.hides()
    },
    hiddenFor: () => (isVisible() ? -1 : Math.min(now() - hiddenSince, 60_000)),
  }
}

/** The app's hook for the headers, which may take its time. */
function createHook() {
  const waiting: (() => void)[] = []
  let isSlow = false
  return {
    headers: () => (isSlow ? new Promise<object>((resolve) => waiting.push(() => resolve({}))) : {}) as never,
    isSlow: () => isSlow,
    waiting: () => waiting.length,
    letWait() {
      isSlow = true
    },
    letCome() {
      isSlow = false
      for (const come of waiting.splice(0)) come()
    },
  }
}
