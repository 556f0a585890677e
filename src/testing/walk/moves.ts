import type { AnyStateMachine } from 'xstate'
import { ConnectionError } from '../../errors'
import { connectionMachine } from '../../machine/connectionMachine'
import { outboxMachine } from '../../machine/outboxMachine'
import type { ConnectionContext, ConnectionInput } from '../../machine/types'
import { type Cursor, FEATURES, type JsonObject } from '../../protocol'
import type { OutboundMessage } from '../../types'
import type { Harness } from '../harness/harness'
import { isAsk } from '../harness/network'
import type { Move } from './plan'

/** What a move has to work with. */
export interface World {
  readonly harness: Harness
  /** What the machine of the connection knows now. */
  readonly context: ConnectionContext
  /** Whether the event that is to be caused has come. */
  readonly hasHappened: boolean
  /** The id of a session that nobody has heard of. */
  readonly newSession: () => string
  /** An event of a session, without its numbers. */
  readonly event: JsonObject
  /** What the app sends. */
  readonly message: OutboundMessage
}
type Cause = Move<World>['cause']
type State = Move<World>['can']
type Fields = (context: ConnectionContext) => object

/** Longer than a server lets its client be silent, ms. */
const LONG = 86_400_000
const KNOWN: Cursor = { sessionId: 'known', lastSeq: 1 }
/** Of another one each time. */
const newSession = ({ resumes }: ConnectionContext): readonly Cursor[] => [{ sessionId: `new ${resumes}`, lastSeq: 0 }]

// Where

const always: State = () => true
const never: State = () => false
const isIn =
  (...states: readonly string[]): State =>
  ({ value }) =>
    states.some((state) => JSON.stringify(value).includes(`"${state}"`))
const isActive: State = (snapshot) => !snapshot.hasTag('idle')
const isStreaming: State = (snapshot) => isActive(snapshot) && !snapshot.hasTag('backoff')
const isUnwelcomed = isIn('connecting', 'awaitingWelcome')
const isResuming: State = (snapshot) => snapshot.hasTag('reconnecting')
/** The resume POST is not answered yet. */
const isPosting = isIn('posting', 'confirming')
const isOpen: State = (snapshot) => snapshot.hasTag('open')
/** The gate of the outbox is open. */
const mayPost = isIn('steady', 'probing')
/** The first POST that is answered is news. */
const isDoubted: State = (snapshot) => mayPost(snapshot) && snapshot.context.trust === 'lost'
const isWelcomed: State = (snapshot) => isResuming(snapshot) || isOpen(snapshot)
/** The server has something to detach. */
const canSuspend = isIn('steady', 'probing', 'doubting', 'suspended')
const isWatched: State = ({ context }) => context.heartbeat !== null

// How

const opens: Cause = ({ harness }) => harness.stream.opens()
const sends =
  (frame: object): Cause =>
  ({ harness }) =>
    harness.stream.sends(frame)
const fails =
  (status?: number): Cause =>
  async ({ harness }) => {
    harness.stream.fails(status)
    await harness.settles()
    // Nor is there anybody who could say why.
    for (const post of harness.posts) if (isAsk(post) && !post.isAborted && !post.isAnswered) post.fails()
  }

const welcomes =
  (hasSessions: boolean, frame?: object): Cause =>
  (world) => {
    const { connection, stream, streams } = world.harness
    if (!hasSessions) for (const { sessionId } of connection.cursors) connection.unwatch(sessionId)
    else if (!connection.cursors.length) publish(world)
    stream.welcomes({ connectionId: `c${streams.length}`, ...frame })
  }

/** An event that follows what the app has seen; of a new session, if there is none. */
function publish({ harness: { connection, stream }, event, newSession }: World): Cursor {
  const { sessionId, lastSeq } = connection.cursors[0] ?? { sessionId: newSession(), lastSeq: 0 }
  const seq = lastSeq + 1
  stream.sends({ ...event, sessionId, seq })
  return { sessionId, lastSeq: seq }
}

/** The event after `cursor` is left out. */
const skip = ({ harness, event }: World, { sessionId, lastSeq }: Cursor) =>
  harness.stream.sends({ ...event, sessionId, seq: lastSeq + 2, prevSeq: lastSeq + 1 })

const leavesOut: Cause = (world) => skip(world, publish(world))
const leavesOutAgain: Cause = (world) => {
  const [asked] = world.context.cursors
  if (asked) skip(world, asked)
}
/** The same log, in another life. */
const startsOver: Cause = (world) => {
  const { connection, stream } = world.harness
  const { sessionId, lastSeq } = publish(world)
  for (const life of [1, 2]) {
    const epoch = `${connection.cursor(sessionId)?.epoch ?? 'e'}${life}`
    if (!world.hasHappened) stream.sends({ ...world.event, sessionId, seq: lastSeq + life, epoch })
  }
}
const watches: Cause = ({ harness, newSession }) => void harness.connection.watch(newSession())

const marks: Cause = ({ harness, context: { resumeId } }) => harness.stream.sends({ type: 'reconnected', resumeId })
const answersProbe: Cause = ({ harness: { posts, stream } }) =>
  stream.sends({ type: 'probe', nonce: posts.findLast(({ endpoint }) => endpoint === 'probe')?.body.nonce })

const answers =
  (endpoint: string, status: number): Cause =>
  ({ harness }) =>
    harness.post(endpoint).answers(status, { ok: true })

/** A hook for the headers is asked once more. */
const refusesProbe: Cause = async (world) => {
  for (let round = 0; round < 2 && !world.hasHappened; round++) {
    answers('probe', 401)(world)
    await world.harness.settles()
  }
}

/** The app sends something, and all that is on its way is answered so; a 401 may have to be answered twice. */
const answersSend =
  (status: number): Cause =>
  async (world) => {
    const { connection, posts, settles } = world.harness
    connection.send(world.message)
    for (let round = 0; round < 2 && !world.hasHappened; round++) {
      await settles()
      for (const post of posts) {
        const isOurs =
          post.connectionId === connection.connectionId && !/^(reconnect|probe|suspend)$/.test(post.endpoint)
        // With a code of the server half's, a 404 is about the stream.
        const body = status === 404 ? { error: 'unknown-stream' } : {}
        if (isOurs && !post.isAnswered && !post.isAborted) post.answers(status, body)
      }
      await settles()
    }
  }

/** It is about the line, and the message is not needed any more: it would be posted again, and time out. */
const answersOnce =
  (status: number): Cause =>
  async (world) => {
    await answersSend(status)(world)
    world.harness.connection.clearOutbox()
  }

/** Two lanes in a row meet a proxy that reaches nobody. */
const meetsDeadServer: Cause = async (world) => {
  const { connection, settles } = world.harness
  connection.send(world.message, { lane: 'first' })
  await settles()
  await answersOnce(502)(world)
}

const sendsApart: Cause = async ({ harness, message }) => {
  harness.connection.send(message, { lane: 'apart' })
}

const suspends: Cause = async (world) => {
  const { connection, settles } = world.harness
  if (!connection.cursors.length) publish(world)
  connection.suspend()
  await settles()
  for (const post of world.harness.posts)
    if (post.endpoint === 'suspend' && !post.isAborted && !post.isAnswered) post.answers(200, {})
}
const wantsToLeave: Cause = ({ harness, message }) => {
  harness.connection.send(message)
}

const isOffline: Cause = ({ harness: { page, time } }) => {
  page.goesOffline()
  time.jumps(LONG)
  page.comesOnline()
}

/** Time passes, from timer to timer, for longer than anything may take. `isAlive`: the server shows that it is there. */
const waits =
  ({ isAlive }: { isAlive: boolean }): Cause =>
  async (world) => {
    const { time, streams } = world.harness
    const { timeouts, backoff } = world.context.policy
    const until = time.clock.now() + 2 * Math.max(...Object.values(timeouts), backoff.stableDelay, backoff.cap)
    while (!world.hasHappened && time.next < until) {
      if (isAlive) streams.at(-1)?.sends({ type: 'ping' })
      await time.passes(Math.max(0, time.next - time.clock.now()))
    }
  }

const throws = () => {
  throw new Error('thrown by the walk')
}
const connectsToBrokenPage: Cause = ({ harness: { page, connection } }) => {
  Object.assign(page, { addEventListener: throws })
  connection.connect()
}
/** The poster is told to start, and asks for the time; the recorder has noted that, and when. */
const welcomesWithBrokenClock: Cause = (world) => {
  const { connection, time } = world.harness
  const { now } = time.clock
  let asked = 0
  const breakOnce = () => {
    if (connection.phase !== 'open' || ++asked === 1) return now()
    Object.assign(time.clock, { now })
    return throws()
  }
  Object.assign(time.clock, { now: breakOnce })
  return welcomes(false)(world)
}

// What

/** The name begins with the type of the event. */
const move = (name: string, can: State, cause: Cause, fields: Fields = () => ({})): Move<World> => ({
  name,
  can,
  cause,
  event: ({ context }) => ({ type: name.replace(/,.*/, ''), ...fields(context) }),
})
const awayFor =
  (ms: number): Fields =>
  () => ({ awayFor: ms })
const TRANSIENT = new ConnectionError('http', 'the server answered an error', { retryable: true })
const DISOWNED = new ConnectionError('unknown-stream', 'the server answered 404', { retryable: true })
const FATAL = new ConnectionError('http', 'the server answered an error', { retryable: false })
const retryable: Fields = () => ({ error: TRANSIENT })
const fatal: Fields = () => ({ error: FATAL })
const disowns: Fields = () => ({ error: DISOWNED })

/** Everything that happens to a connection. */
export function connectionMoves({ timeouts, backoff }: ConnectionInput): readonly Move<World>[] {
  const heartbeat = Math.min(...Object.values(timeouts), backoff.stableDelay || LONG) / 4
  const bare = { features: [], heartbeat: null }
  const probed = { features: ['probe'] as const, heartbeat }
  const rich = { features: FEATURES, heartbeat }
  const welcomed = (
    details: string,
    cursors: readonly Cursor[],
    announced: typeof bare | typeof probed | typeof rich,
  ) =>
    move(`stream.welcomed, ${details}`, isStreaming, welcomes(cursors.length > 0, announced), () => ({
      connectionId: 'c',
      cursors,
      ...announced,
    }))
  const withLeftOvers = (name: string, can: State, cause: Cause, fields: Fields = () => ({})) =>
    [
      { details: '', before: () => {}, leftOvers: () => [], hasHole: false },
      { details: ', left-overs', before: watches, leftOvers: newSession, hasHole: false },
      {
        details: ', no progress',
        before: leavesOutAgain,
        leftOvers: ({ cursors }: ConnectionContext) => cursors.slice(0, 1),
        hasHole: true,
      },
    ].map(({ details, before, leftOvers, hasHole }) =>
      move(
        name + details,
        (snapshot) => can(snapshot) && (!details || isResuming(snapshot)),
        async (world) => {
          await before(world)
          await cause(world)
        },
        (context) => ({ ...fields(context), leftOvers: leftOvers(context), hasHole }),
      ),
    )

  return [
    move('connect', always, ({ harness }) => harness.connection.connect()),
    move('connect, with a page that throws', isIn('idle'), connectsToBrokenPage),
    move('disconnect', always, ({ harness }) => harness.connection.disconnect()),
    move('reconnect', always, ({ harness }) => harness.connection.reconnect()),
    move('reconnect, by the page', isActive, ({ harness }) => harness.page.returns()),
    move('wake', always, ({ harness }) => harness.connection.wake(), awayFor(0)),
    move('wake, by the page', isActive, ({ harness }) => harness.page.shows(), awayFor(0)),
    move('wake, after a long time', isActive, isOffline, awayFor(LONG)),

    move('page.suspended', canSuspend, suspends, () => ({ cursors: [KNOWN] })),

    move('stream.opened', isStreaming, opens),
    welcomed('no session', [], bare),
    welcomed('no session, all features', [], rich),
    welcomed('sessions', [KNOWN], probed),
    welcomed('sessions, all features', [KNOWN], rich),
    {
      ...welcomed('no session, with a clock that throws', [], bare),
      can: isIn('connecting'),
      cause: welcomesWithBrokenClock,
    },
    move('stream.failed', isStreaming, fails(), retryable),
    move(
      'stream.failed, bad welcome',
      isStreaming,
      ({ harness }) => harness.stream.welcomes({ protocolVersion: 1 }),
      retryable,
    ),
    move('stream.failed, 401 after the welcome', isWelcomed, fails(401), retryable),
    move('stream.refused, 401', isUnwelcomed, fails(401), fatal),
    move('stream.refused, 204', isUnwelcomed, fails(204), fatal),
    move('stream.refused, 403', isUnwelcomed, fails(403), retryable),
    move('stream.silent', isWatched, waits({ isAlive: false }), retryable),
    move('stream.drained', isStreaming, sends({ type: 'goodbye' }), () => ({ delay: {}, error: TRANSIENT })),
    // Suspended, all are to be resumed anyway.
    move('stream.gapped', isOpen, leavesOut, ({ farewell }) => ({ cursors: [KNOWN], hasHole: farewell === 'none' })),
    move('stream.reset', isStreaming, startsOver, retryable),
    move('stream.probed, its nonce', isStreaming, answersProbe, ({ probes }) => ({ nonce: `p${probes}` })),
    move('stream.probed, another nonce', isStreaming, sends({ type: 'probe' }), () => ({ nonce: '' })),
    ...withLeftOvers('stream.replayed', isStreaming, marks, ({ resumeId }) => ({ resumeId })),
    move('stream.replayed, no id', isStreaming, sends({ type: 'reconnected' }), () => ({
      resumeId: null,
      leftOvers: [],
    })),
    move('stream.replayed, another id', isStreaming, sends({ type: 'reconnected', resumeId: 'r0' }), () => ({
      resumeId: 'r0',
      leftOvers: [],
    })),

    ...withLeftOvers('resume.succeeded', isPosting, answers('reconnect', 200)),
    move('resume.failed, 500', isPosting, answers('reconnect', 500), retryable),
    move('resume.failed, 404', isPosting, answers('reconnect', 404), disowns),
    move('resume.failed, 403', isPosting, answers('reconnect', 403), fatal),
    move('resume.failed, the replay stalls', isIn('replaying'), waits({ isAlive: true }), retryable),
    move('upstream.disowned', mayPost, answersOnce(404), retryable),
    move('upstream.disowned, by the probe', isIn('probing', 'doubting'), answers('probe', 404), retryable),
    move('upstream.unauthorized', mayPost, answersOnce(401), fatal),
    move('upstream.unauthorized, by the probe', isIn('doubting'), refusesProbe, fatal),
    move('upstream.doubtful', mayPost, meetsDeadServer, retryable),
    move('upstream.proved', isDoubted, answersOnce(200)),
    move('upstream.wanted', isIn('suspended'), wantsToLeave),
    ...fromWithin(connectionMachine),
  ]
}

/** Everything that happens to the gate of its outbox, while it is connecting. */
export const outboxMoves = (): readonly Move<World>[] => [
  move('release', isIn('held'), welcomes(false)),
  move('hold', isIn('suspended', 'flowing', 'pausing'), fails()),
  move('suspend', isIn('suspended', 'flowing', 'pausing'), suspends),
  move('pause', isIn('flowing'), answersSend(503)),
  move('flow', isIn('pausing'), sendsApart),
  ...fromWithin(outboxMachine),
]

/** Timers that fire, and actors that throw. */
const fromWithin = ({ events }: AnyStateMachine) => [
  ...events
    .filter((type) => type.startsWith('xstate.after.'))
    .map((type) => move(type, always, waits({ isAlive: true }))),
  ...events.filter((type) => type.startsWith('xstate.error.')).map((type) => move(type, never, throws, fatal)),
]
