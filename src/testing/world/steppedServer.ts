import type { Feature, JsonObject, SessionStatus, SessionVerdict } from '../../protocol'
import type { Harness } from '../harness/harness'
import { sessionsOf, type TestPost } from '../harness/network'
import { type Line, Lines } from './lines'
import { isProbe, isResume } from './posts'

interface ServerParts {
  readonly harness: Harness
  readonly features: readonly Feature[]
  readonly heartbeat: number | undefined
  readonly event: JsonObject
}

/**
 * A server whose every single step is taken by a letter, or by the healthy network that comes in
 * the end.
 */
export class SteppedServer extends Lines {
  /** The last event of each session. */
  readonly heads: Map<string, number>
  readonly #parts: ServerParts
  readonly #marked = new Set<TestPost>()
  readonly #proved = new Set<TestPost>()
  /** The verdicts on the sessions of a resume that were lost. */
  readonly #lost = new Map<TestPost, readonly SessionVerdict[]>()
  /** The cursor at which a hole was made last. */
  #holeAt = -1

  constructor(parts: ServerParts) {
    const heads = new Map<string, number>()
    super(parts.harness, (sessionId) => heads.get(sessionId) ?? 0)
    this.heads = heads
    this.#parts = parts
  }

  readonly head = (sessionId: string) => this.heads.get(sessionId) ?? 0

  readonly opens = (line: Line) => {
    line.isOpened = true
    line.stream.opens()
  }

  readonly welcomes = (line: Line) => {
    const { features, heartbeat } = this.#parts
    line.welcomes++
    line.sent.clear()
    const connectionId = `c${this.lines.length}.${line.welcomes}`
    line.stream.welcomes({ connectionId, features, ...(heartbeat && { heartbeat }) })
  }

  /** Sends what the stream has not had yet. */
  #sends(sessionId: string) {
    const line = this.flowing()
    const from = line?.sent.get(sessionId)
    if (!line || from === undefined) return
    const head = this.head(sessionId)
    for (let seq = from + 1; seq <= head; seq++) line.stream.sends({ ...this.#parts.event, sessionId, seq })
    line.sent.set(sessionId, head)
  }

  readonly publishes = (sessionId: string, { isLost = false } = {}) => {
    const line = this.live()
    const seq = this.head(sessionId) + 1
    this.heads.set(sessionId, seq)
    if (!line) return
    const { lastSeq = seq - 1 } = this.#parts.harness.connection.cursor(sessionId) ?? {}
    // A server may know by other means who wants it, as long as nothing is left out.
    if (line.isOpened && !line.isAsleep && lastSeq === seq - 1 && !line.sent.has(sessionId))
      line.sent.set(sessionId, lastSeq)
    if (isLost) {
      line.sent.set(sessionId, seq)
      this.#holeAt = lastSeq
    } else this.#sends(sessionId)
  }

  /** How often the hole that was made last was asked for, up to 4; 0 once it is filled. */
  readonly fruitless = () => {
    const { connection, posts } = this.#parts.harness
    if (connection.cursor('s1')?.lastSeq !== this.#holeAt) return 0
    const asks = posts.filter((post) => sessionsOf(post).some(({ lastSeq }) => lastSeq === this.#holeAt))
    return Math.min(asks.length, 4)
  }

  readonly #verdicts = (post: TestPost, status: SessionStatus = 'resumed'): readonly SessionVerdict[] =>
    this.#lost.get(post) ??
    sessionsOf(post).map(({ sessionId, lastSeq }) => {
      const to = this.head(sessionId)
      return { sessionId, status: lastSeq > to ? 'reset' : status, from: Math.min(lastSeq, to), to }
    })

  readonly #unmarked = () => {
    const post = this.#parts.features.includes('replay-marker') && this.#parts.harness.posts.findLast(isResume)
    return post && this.isCurrent(post) && !this.#marked.has(post) ? post : undefined
  }

  readonly isMarked = (post: TestPost) => this.#marked.has(post)

  /** Is there something to replay, or a replay whose end is still to be told? */
  readonly isReplaying = () => {
    const line = this.flowing()
    if (!line) return false
    const isBehind = [...line.sent].some(([sessionId, seq]) => seq < this.head(sessionId))
    return isBehind || !!this.#unmarked()
  }

  readonly replays = () => {
    const line = this.flowing()
    for (const sessionId of line?.sent.keys() ?? []) this.#sends(sessionId)
    const post = this.#unmarked()
    if (!post) return
    this.#marked.add(post)
    line?.stream.sends({ type: 'reconnected', resumeId: post.body.resumeId, sessions: this.#verdicts(post) })
  }

  /** The answer of a server that has nothing to complain about. */
  readonly accepts = (post: TestPost) => {
    if (post.endpoint === 'batch') {
      const list = post.body.messages as readonly { id: string }[]
      return post.answers(200, { results: list.map(({ id }) => ({ id, status: 200, receipt: {} })) })
    }
    const isMarked = isResume(post) && this.#parts.features.includes('replay-marker')
    post.answers(200, { ok: true, ...(!isMarked && { sessions: this.#verdicts(post) }) })
    if (post.endpoint === 'suspend') this.detaches(post)
    if (post.endpoint === 'watch' && this.isCurrent(post)) this.#sends(String(post.body.sessionId))
  }

  /**
   * A server without `suspend-keeps` detaches the sessions. It may not know `resumeId`, and so not
   * which came first.
   */
  readonly detaches = (post: TestPost) => {
    const line = this.live()
    if (this.#parts.features.includes('suspend-keeps') || !this.isCurrent(post) || !line) return
    line.sent.clear()
    line.isAsleep = true
  }

  /**
   * Answers a resume: the history of its sessions is lost, or they are. Nothing is replayed; a
   * marker says the same.
   */
  readonly loses = (post: TestPost, status: 'reset' | 'gone') => {
    this.#lost.set(post, this.#verdicts(post, status))
    const sent = this.isCurrent(post) ? this.live()?.sent : undefined
    for (const { sessionId } of sessionsOf(post)) {
      if (status === 'reset') sent?.set(sessionId, this.head(sessionId))
      else sent?.delete(sessionId)
    }
    post.answers(200, { ok: true, sessions: this.#verdicts(post) })
  }

  /** The probe that waits for its answer on the stream. */
  readonly probing = () =>
    this.flowing() &&
    this.#parts.harness.posts.findLast((post) => isProbe(post) && this.isCurrent(post) && !this.#proved.has(post))

  readonly proves = (post: TestPost) => {
    this.#proved.add(post)
    this.flowing()?.stream.sends({ type: 'probe', nonce: post.body.nonce })
  }
}
