import type { Delivery } from '../../connection/messages'
import { carried } from '../oracle/wire'
import type { Course } from './course'

/** A healthy network is at its end long before that many timers have fired. */
const PATIENCE = 100

/**
 * Hands the world to a healthy network. Throws if that does not lead to an open line that is up to
 * date.
 */
export async function heals(world: Course): Promise<void> {
  const { connection, harness, oracle, heartbeat } = world
  const unsettled = connection.pending
  const expired = watchExpiry(world, unsettled)
  world.letHeadersCome()
  if (!world.isVisible()) harness.page.shows()
  if (connection.phase === 'idle') connection.connect()
  await harness.settles()
  for (let steps = 0; steps < PATIENCE; steps++) {
    // With `maxAttempts` the line may have had enough of what happened before: then it is the app
    // that starts it again.
    if (connection.phase === 'idle' && connection.lastError?.code === 'gave-up') {
      connection.connect()
      await harness.settles()
    }
    const line = world.live()
    // Without a heartbeat nobody can know.
    if (line && connection.phase === 'open' && !heartbeat) line.isDead = false
    while (serves(world)) await harness.settles()
    const due = unsettled.filter((delivery) => !expired.has(delivery))
    if (!complaint(world, due) || oracle.violations.length) return oracle.check()
    if (!world.timers.size && connection.phase !== 'idle') break
    if (heartbeat) world.flowing()?.stream.sends({ type: 'ping' })
    await world.passes()
  }
  const due = unsettled.filter((delivery) => !expired.has(delivery))
  oracle.report('I9', `a healthy network is of no use: ${complaint(world, due)}`)
  oracle.check()
}

/**
 * The messages that grow too old before they are posted: with `outbox.maxAge` that is an end like
 * another.
 */
function watchExpiry({ harness }: Course, unsettled: readonly Delivery[]): ReadonlySet<Delivery> {
  const expired = new Set<Delivery>()
  for (const delivery of unsettled) {
    void delivery.settled.then((verdict) => {
      const isPosted = harness.posts.some((post) => carried(post).includes(delivery.id))
      if (verdict.status === 'rejected' && verdict.error.code === 'expired' && !isPosted) expired.add(delivery)
    })
  }
  return expired
}

/** Does one thing that a healthy network would do. False if there is nothing to do. */
function serves(world: Course): boolean {
  const line = world.flowing()
  if (line && !line.isOpened) world.opens(line)
  else if (line && !line.welcomes) world.welcomes(line)
  else {
    const probe = world.probing()
    const post = world.pending(world.isCurrent)
    if (world.isReplaying()) world.replays()
    else if (probe) world.proves(probe)
    else if (post) world.accepts(post)
    else return false
  }
  return true
}

/** The first thing that a healthy network has not achieved yet. */
function complaint(world: Course, due: readonly Delivery[]): string | undefined {
  const { connection, harness, head } = world
  if (connection.phase !== 'open') return `the phase is ${connection.phase}`
  if (!world.flowing()) return 'the stream is dead'
  const failed = due.find(({ status }) => status !== 'accepted')
  if (failed) return `${failed.id} is ${failed.status}`
  for (const { sessionId, lastSeq } of connection.cursors) {
    const heard = harness.messages.flatMap((one) => (one.sessionId === sessionId ? [Number(one.seq)] : []))
    const wasReset = harness.told.some(({ name, event }) => name === 'session' && event.status === 'reset')
    // An event that comes again was asked for again, or is none of I9's business.
    const run = heard.slice(heard.findLastIndex((seq, index) => seq <= (heard[index - 1] ?? 0)))
    const isWhole =
      wasReset || world.skipped.has(sessionId) || run.every((seq, index) => seq === (run[0] as number) + index)
    if (lastSeq !== head(sessionId) || !isWhole) return `of ${sessionId} came ${heard}, there are ${head(sessionId)}`
  }
  return undefined
}
