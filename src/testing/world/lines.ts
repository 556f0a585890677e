import type { Harness } from '../harness/harness'
import { sessionsOf, type TestPost, type TestStream } from '../harness/network'
import { isResume } from './posts'

/** A stream, and what the server has done with it. */
export interface Line {
  readonly stream: TestStream
  isOpened: boolean
  welcomes: number
  /** Nothing comes down any more, and nobody says so. */
  isDead: boolean
  /** The last event of each attached session that was sent on it. */
  readonly sent: Map<string, number>
  /** Its sessions were detached at a suspend, and nothing has been resumed since. */
  isAsleep: boolean
  /** Oldest first. */
  readonly resumes: TestPost[]
}

/**
 * Every stream that the connection has asked for, and the POSTs that speak of them. `head`: the
 * last event of a session.
 */
export class Lines {
  readonly lines: Line[] = []
  readonly #posts: readonly TestPost[]
  /** Answered without the end of a body. */
  readonly #half = new Set<TestPost>()

  constructor({ posts, observe }: Harness, head: (sessionId: string) => number) {
    this.#posts = posts
    observe({
      onStream: (stream) => {
        const sent = new Map<string, number>()
        this.lines.push({ stream, isOpened: false, welcomes: 0, isDead: false, sent, isAsleep: false, resumes: [] })
      },
      onPost: (post) => {
        const line = this.live()
        if (!line || post.connectionId !== line.stream.connectionId) return
        if (isResume(post)) {
          line.resumes.push(post)
          line.isAsleep = false
        }
        if (post.endpoint === 'reconnect' || post.endpoint === 'watch') {
          // A cursor beyond the head is moved to it.
          for (const { sessionId, lastSeq } of sessionsOf(post))
            line.sent.set(sessionId, Math.min(lastSeq, head(sessionId)))
        } else if (post.endpoint === 'unwatch') line.sent.delete(String(post.body.sessionId))
      },
    })
  }

  /** The stream that the connection takes for a live one. */
  readonly live = (): Line | undefined => {
    const line = this.lines.at(-1)
    return line?.stream.isClosed ? undefined : line
  }

  /** The stream on which something can be sent. */
  readonly flowing = (): Line | undefined => {
    const line = this.live()
    return line?.isDead ? undefined : line
  }

  /** Is this POST about the live stream? */
  readonly isCurrent = (post: TestPost) => {
    const id = this.live()?.stream.connectionId ?? null
    return !post.isAborted && post.connectionId === id && id !== null
  }

  readonly isOpen = (post: TestPost) => !post.isAborted && !post.isAnswered && !this.#half.has(post)

  /** The oldest POST of a kind that is not answered yet. */
  readonly pending = (is: (post: TestPost) => boolean) => this.#posts.find((post) => is(post) && this.isOpen(post))

  readonly answersHalf = (post: TestPost) => {
    this.#half.add(post)
    post.answersHalf()
  }

  readonly isHalf = (post: TestPost) => this.#half.has(post)
}
