import type { TestPost } from '../harness/network'
import { Lanes, type Place } from './lanes'
import type { Watch } from './watch'
import { carried, isInFlight, isOk, longest, parse, resultsOf, wishOf } from './wire'

/**
 * I13: on an open line no message holds up another lane, and none its own once the server is known
 * to take others.
 */
export const noneHeldUp: Watch = (harness, report, { isPreparing, maxFailures, maxInFlight }) => {
  const { connection, posts } = harness
  const lanes = new Lanes(connection)
  const { now } = harness.time.clock
  const reasons = new Reasons(lanes, now)
  let stream: string | null = null
  connection.on('opened', ({ connectionId }) => {
    if (connectionId !== stream) reasons.begin()
    stream = connectionId
  })

  /** A stop, and the messages that it stops, are two: each may be under way. */
  const halves = (lane: readonly Place[]) => [lane.filter(({ isStop }) => isStop), lane.filter(({ isStop }) => !isStop)]

  function judge(name: string, lane: readonly Place[], isUnderWay: (id: string) => boolean) {
    for (const half of halves(lane)) {
      const [first] = half
      if (!first || half.some(({ delivery }) => isUnderWay(delivery.id))) continue
      const { id } = first.delivery
      const until = Math.max(...half.map(({ delivery }) => delivery.retryAt ?? 0))
      if (until) {
        // After a sleep of the machine a wait may be over before its timer has had a chance to
        // fire.
        const hasFailed = reasons.has(name) || half.some(isUnprepared)
        if (until > now() && !hasFailed) report(`${id} waits, and nothing of its lane has failed`)
        continue
      }
      const isBehindStop =
        !first.isStop && lane.some(({ isStop, delivery }) => isStop && delivery.attempts < maxFailures)
      if (!isBehindStop) report(`${id} waits, and is told for nothing`)
    }
  }

  return {
    onAnswer(post, answer) {
      if (!post.isAborted) reasons.note(post, wishOf(answer, now()).retryAfter, answer)
    },
    onSettled() {
      reasons.noteAborted(posts)
      lanes.tidy()
      const { phase, outbox } = connection.getSnapshot()
      if (phase !== 'open' || outbox.state === 'held' || isPreparing()) return
      const busy = posts.filter((post) => isInFlight(post) && (post.key !== null || post.endpoint === 'batch'))
      if (busy.length >= maxInFlight) return
      const isUnderWay = (id: string) => busy.some((post) => carried(post).includes(id))
      for (const [name, lane] of lanes.all()) judge(name, lane, isUnderWay)
    },
    memory: () => reasons.memory(),
  }
}

/** It has never left, so its headers have failed, or did not come in time. */
const isUnprepared = ({ delivery: { attempts, error } }: Place) => attempts === 0 && error !== null

/** Why a lane may wait: one of its own POSTs has failed, or the whole line was told to wait. */
class Reasons {
  readonly #lanes: Lanes
  readonly #now: () => number
  readonly #failed = new Set<string>()
  /**
   * Until when a lane, or the line, may wait for what a server has asked for, ms since the epoch.
   */
  readonly #askedOf = new Map<string, number>()
  #askedOfAll = 0
  readonly #aborted = new WeakSet<TestPost>()
  /** The lane that was told to wait last, if nothing was taken since. */
  #told: string | undefined

  constructor(lanes: Lanes, now: () => number) {
    this.#lanes = lanes
    this.#now = now
  }

  has(lane: string): boolean {
    return this.#failed.has(lane) || Math.max(this.#askedOfAll, this.#askedOf.get(lane) ?? 0) > this.#now()
  }

  /** A new stream: only the waits that a server has asked for outlive the old one. */
  begin() {
    this.#failed.clear()
  }

  note(post: TestPost, retryAfter: number, { status, text }: { readonly status: number; readonly text?: string }) {
    const isWhole = post.endpoint === 'batch' && !isOk(status)
    // A resume, a stream or a whole batch speaks of the line.
    if (retryAfter && (isWhole || post.key === null)) this.#askAll(retryAfter)
    const results = resultsOf(post, status, text)
    for (const id of carried(post)) {
      const result = results.find((one) => one.id === id)
      const isTaken = isOk(result?.status ?? 0) && (text === undefined || parse(text) !== undefined)
      if (isTaken) this.#take(this.#laneOf(id))
      else this.#refuse(this.#laneOf(id), result?.retryAfter ?? retryAfter)
    }
  }

  /** A POST that the connection gave up has failed as well. */
  noteAborted(posts: readonly TestPost[]) {
    for (const post of posts) {
      if (!post.isAborted || this.#aborted.has(post)) continue
      this.#aborted.add(post)
      for (const id of carried(post)) this.#failed.add(this.#laneOf(id))
    }
  }

  #laneOf(id: string) {
    return this.#lanes.nameOf(id) ?? id
  }

  #take(lane: string) {
    this.#failed.delete(lane)
    this.#told = undefined
  }

  #refuse(lane: string, retryAfter: number) {
    this.#failed.add(lane)
    if (!retryAfter) return
    this.#askedOf.set(lane, this.#now() + longest(retryAfter))
    // Two lanes, and nothing taken between: it is not about one of them.
    if (this.#told !== undefined && this.#told !== lane) this.#askAll(retryAfter)
    this.#told = lane
  }

  #askAll(retryAfter: number) {
    this.#askedOfAll = Math.max(this.#askedOfAll, this.#now() + longest(retryAfter))
  }

  memory(): readonly unknown[] {
    const left = (at: number) => Math.max(0, at - this.#now())
    const asked = [...this.#askedOf].flatMap(([lane, at]) => (left(at) ? [lane, left(at)] : []))
    return [...this.#failed, ...asked, left(this.#askedOfAll), this.#told]
  }
}
