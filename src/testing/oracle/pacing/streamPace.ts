import type { Harness, Observer } from '../../harness/harness'
import { type Answer, isAsk, type TestPost, type TestStream } from '../../harness/network'
import { before, type Watch } from '../watch'
import { isOk, isResume, keepsSessions, liveId, NO_WISH, parse, resultsOf, wishOf } from '../wire'
import { Causes } from './causes'
import { Waits } from './waits'

/** I12, of streams: none is opened before the wait after the last failure is over. */
export const streamPace: Watch = (harness, report) => new StreamPace(harness, report)

class StreamPace implements Observer {
  readonly #harness: Harness
  readonly #report: (message: string) => void
  readonly #waits: Waits
  readonly #causes: Causes
  /** In a row, as far as can be seen from here: not more than the connection counts. */
  #failures = 0
  #openedAt: number | null = null
  #isFirst = true
  /** When the next attempt may be made; unknown until the last one has failed. */
  #due = Number.POSITIVE_INFINITY
  #isDisowned = false
  #wish = NO_WISH
  #isKept = false
  /**
   * The page has gone away, and the stream was not resumed since. It may be found lost, and is then
   * replaced at once.
   */
  #isAsleep = false

  constructor(harness: Harness, report: (message: string) => void) {
    const { connection, page } = harness
    this.#harness = harness
    this.#report = report
    this.#waits = new Waits(harness)
    this.#causes = new Causes(harness)
    const sleep = () => {
      this.#isAsleep ||= !this.#isKept && connection.phase === 'open' && connection.cursors.length > 0
    }
    before(connection, ['suspend'], sleep)
    before(page, ['hides', 'leaves', 'freezes'], sleep)
    before(connection, ['connect'], () => {
      if (connection.phase === 'idle') this.#failures = 0
    })
    connection.on('opened', () => {
      this.#openedAt = this.#now()
      this.#isAsleep = false
    })
    // A second welcome closes and opens in the same phase.
    connection.on('closed', () => this.#shut())
    connection.on('phase', ({ phase }) => phase !== 'open' && this.#leftOpen(phase))
  }

  #now() {
    return this.#harness.time.clock.now()
  }

  get #policy() {
    return this.#harness.connection.actor.getSnapshot().context.policy
  }

  #failuresNow() {
    const isStable = this.#openedAt !== null && this.#now() - this.#openedAt >= this.#policy.backoff.stableDelay
    return isStable ? 0 : this.#failures
  }

  #shut() {
    this.#failures = this.#failuresNow()
    this.#openedAt = null
  }

  #leftOpen(phase: string) {
    this.#shut()
    if (this.#isAsleep && phase === 'reconnecting') this.#causes.woken()
    if (phase !== 'backoff') return
    this.#failures++
    this.#due = this.#now() + this.#waits.least(this.#failures, this.#wish)
  }

  onDraw(value: number) {
    this.#waits.drawn(value)
  }

  onStream() {
    this.#isAsleep = false
    const isFreeTry = this.#isDisowned && this.#failuresNow() === 0
    if (isFreeTry) this.#failures = 1
    const early = this.#due - this.#now()
    this.#due = Number.POSITIVE_INFINITY
    const isAllowed = this.#isFirst || isFreeTry || early <= 0 || this.#causes.allowStream(this.#policy.timeouts.probe)
    if (isAllowed) this.#isFirst = false
    else if (early === Number.POSITIVE_INFINITY) this.#report('a stream that nobody asked for')
    else this.#report(`a stream ${Math.ceil(early)} ms too early`)
  }

  onFrame(_: TestStream, type: string, data: string | undefined) {
    if (type === 'welcome') this.#isKept = keepsSessions(data)
    const { type: name, retryAfter = 0, spread = retryAfter / 2 } = type === 'message' ? Object(parse(data)) : {}
    if (name === 'goodbye') this.#wish = { retryAfter, spread }
    return undefined
  }

  onAnswer(post: TestPost, answer: Answer) {
    if (post.isAborted) return
    const { status, text } = answer
    if ((isResume(post) || isAsk(post)) && !isOk(status)) this.#wish = wishOf(answer, this.#now())
    const is404 = status === 404 || resultsOf(post, status, text).some((result) => result.status === 404)
    if (is404 && post.connectionId === liveId(this.#harness.streams)) this.#isDisowned = true
    if (is404 && this.#isAsleep && isResume(post)) this.#causes.ask()
  }

  onSettled() {
    this.#causes.settled()
    this.#waits.settled()
    this.#isDisowned = false
    this.#wish = NO_WISH
  }

  memory(): readonly unknown[] {
    const until = (at: number) => Math.max(0, at - this.#now())
    return [
      Math.min(this.#failures, 5),
      this.#due < Number.POSITIVE_INFINITY ? until(this.#due) : -1,
      this.#openedAt === null ? -1 : until(this.#openedAt + this.#policy.backoff.stableDelay),
      this.#isAsleep,
    ]
  }
}
