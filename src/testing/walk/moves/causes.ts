import type { Cursor } from '../../../protocol'
import { isAsk } from '../../harness/network'
import { type Cause, LONG, type World } from './move'

export const opens: Cause = ({ harness }) => harness.stream.opens()
export const sends =
  (frame: object): Cause =>
  ({ harness }) =>
    harness.stream.sends(frame)
export const fails =
  (status?: number): Cause =>
  async ({ harness }) => {
    harness.stream.fails(status)
    await harness.settles()
    // Nor is there anybody who could say why.
    for (const post of harness.posts) if (isAsk(post) && !post.isAborted && !post.isAnswered) post.fails()
  }

export const welcomes =
  (hasSessions: boolean, frame?: object): Cause =>
  (world) => {
    const { connection, stream, streams } = world.harness
    if (!hasSessions) for (const { sessionId } of connection.cursors) connection.unwatch(sessionId)
    else if (!connection.cursors.length) publish(world)
    stream.welcomes({ connectionId: `c${streams.length}`, ...frame })
  }

/** An event that follows what the app has seen; of a new session, if there is none. */
export function publish({ harness: { connection, stream }, event, newSession }: World): Cursor {
  const { sessionId, lastSeq } = connection.cursors[0] ?? { sessionId: newSession(), lastSeq: 0 }
  const seq = lastSeq + 1
  stream.sends({ ...event, sessionId, seq })
  return { sessionId, lastSeq: seq }
}

/** The event after `cursor` is left out. */
export const skip = ({ harness, event }: World, { sessionId, lastSeq }: Cursor) =>
  harness.stream.sends({ ...event, sessionId, seq: lastSeq + 2, prevSeq: lastSeq + 1 })

export const leavesOut: Cause = (world) => skip(world, publish(world))
export const leavesOutAgain: Cause = (world) => {
  const [asked] = world.context.cursors
  if (asked) skip(world, asked)
}
/** The same log, in another life. */
export const startsOver: Cause = (world) => {
  const { connection, stream } = world.harness
  const { sessionId, lastSeq } = publish(world)
  for (const life of [1, 2]) {
    const epoch = `${connection.cursor(sessionId)?.epoch ?? 'e'}${life}`
    if (!world.hasHappened) stream.sends({ ...world.event, sessionId, seq: lastSeq + life, epoch })
  }
}
export const watches: Cause = ({ harness, newSession }) => void harness.connection.watch(newSession())

export const marks: Cause = ({ harness, context: { resumeId } }) =>
  harness.stream.sends({ type: 'reconnected', resumeId })
export const answersProbe: Cause = ({ harness: { posts, stream } }) =>
  stream.sends({ type: 'probe', nonce: posts.findLast(({ endpoint }) => endpoint === 'probe')?.body.nonce })

export const answers =
  (endpoint: string, status: number): Cause =>
  ({ harness }) =>
    harness.post(endpoint).answers(status, { ok: true })

/** A hook for the headers is asked once more. */
export const refusesProbe: Cause = async (world) => {
  for (let round = 0; round < 2 && !world.hasHappened; round++) {
    answers('probe', 401)(world)
    await world.harness.settles()
  }
}

/**
 * The app sends something, and all that is on its way is answered so; a 401 may have to be answered
 * twice.
 */
export const answersSend =
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

/**
 * It is about the line, and the message is not needed any more: it would be posted again, and time
 * out.
 */
export const answersOnce =
  (status: number): Cause =>
  async (world) => {
    await answersSend(status)(world)
    world.harness.connection.clearOutbox()
  }

/** Two lanes in a row meet a proxy that reaches nobody. */
export const meetsDeadServer: Cause = async (world) => {
  const { connection, settles } = world.harness
  connection.send(world.message, { lane: 'first' })
  await settles()
  await answersOnce(502)(world)
}

export const sendsApart: Cause = async ({ harness, message }) => {
  harness.connection.send(message, { lane: 'apart' })
}

export const suspends: Cause = async (world) => {
  const { connection, settles } = world.harness
  if (!connection.cursors.length) publish(world)
  connection.suspend()
  await settles()
  for (const post of world.harness.posts)
    if (post.endpoint === 'suspend' && !post.isAborted && !post.isAnswered) post.answers(200, {})
}
export const wantsToLeave: Cause = ({ harness, message }) => {
  harness.connection.send(message)
}

export const isOffline: Cause = ({ harness: { page, time } }) => {
  page.goesOffline()
  time.jumps(LONG)
  page.comesOnline()
}

/**
 * Time passes, from timer to timer, for longer than anything may take. `isAlive`: the server shows
 * that it is there.
 */
export const waits =
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

export const throws = () => {
  throw new Error('thrown by the walk')
}
export const connectsToBrokenPage: Cause = ({ harness: { page, connection } }) => {
  Object.assign(page, { addEventListener: throws })
  connection.connect()
}
/** The poster is told to start, and asks for the time; the recorder has noted that, and when. */
export const welcomesWithBrokenClock: Cause = (world) => {
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
