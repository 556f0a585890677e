import { sessionsOf } from '../harness/network'
import { carried } from '../oracle/wire'
import { isOfTheApp, isResume, isSuspend } from '../world/posts'
import type { World } from '../world/world'

/**
 * Everything that decides the future of a world, with names and times relative. It may take two
 * states for one: it does not see what the connection remembers of a session beyond its cursor
 * (which left-overs a resume will carry, which verdict is still to come, which message waits for a
 * listener), nor the size of its next batch, and it counts attempts, resumes and repeats up to a
 * limit. It can take one state for two, which only costs time.
 */
export function fingerprint(world: World): string {
  const { connection, harness, timers, lines, heads, deliveries, head, isCurrent, isHalf } = world
  const { posts } = harness
  const { value, status, context, children } = connection.actor.getSnapshot() as unknown as Inside
  const now = harness.time.clock.now()
  const line = world.live()
  const dead = posts.filter(({ isAborted, isAnswered }) => isAborted && !isAnswered)
  const resume = posts.findLast(isResume)
  const { silentFor, ...memory } = world.memory()
  const keepsSessions = world.features.includes('suspend-keeps')
  const isWatched = context.heartbeat !== null || JSON.stringify(value).includes('replaying')
  return JSON.stringify([
    value,
    status,
    children.outbox?.getSnapshot().value,
    Math.min(context.attempt, 5),
    context.fruitless,
    context.flaps,
    context.refusals,
    context.farewell,
    Math.min(context.resumes, 2),
    line && [
      line.isOpened,
      line.welcomes,
      line.isDead,
      line.isAsleep,
      Math.min(line.resumes.length, 2),
      [...line.sent].map(([id, seq]) => [id, head(id) - seq]),
    ],
    [...timers.values()].map((at) => at - now).sort((a, b) => a - b),
    posts
      // A server that keeps the sessions does nothing at a `suspend`, and the client does not wait
      // for the answer.
      .filter((post) => !post.isAborted && !post.isAnswered && !(isSuspend(post) && keepsSessions))
      .map((post) => [post.endpoint, isCurrent(post), isHalf(post), carried(post)]),
    resume &&
      isCurrent(resume) &&
      sessionsOf(resume).map(({ sessionId, lastSeq }) => [sessionId, head(sessionId) - lastSeq]),
    [world.isReplaying(), !!world.probing()],
    [
      lines.some(({ stream }) => stream.isClosed),
      dead.some(isResume),
      dead.some(isOfTheApp),
      dead.some((post) => !isResume(post) && !isOfTheApp(post)),
    ],
    deliveries.map(({ id, status }) => [
      status,
      world.laneOf(id),
      Math.min(3, posts.filter((post) => carried(post).includes(id)).length),
    ]),
    connection.cursors.map(({ sessionId, lastSeq }) => [sessionId, head(sessionId) - lastSeq]),
    [...heads],
    memory,
    world.oracle.memory(),
    isWatched && Math.min(silentFor, 60_000),
  ])
}

interface Inside {
  readonly value: unknown
  readonly status: string
  readonly context: {
    readonly attempt: number
    readonly fruitless: number
    readonly flaps: number
    readonly refusals: number
    readonly farewell: string
    readonly resumes: number
    readonly heartbeat: number | null
  }
  readonly children: { readonly outbox?: { getSnapshot(): { readonly value: unknown } } }
}

/** 53 bits (cyrb53): among a million states the odds of a clash are one in 20,000. */
export function hash(text: string): number {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    high = Math.imul(high ^ code, 2_654_435_761)
    low = Math.imul(low ^ code, 1_597_334_677)
  }
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909)
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909)
  return 4_294_967_296 * (2_097_151 & low) + (high >>> 0)
}
