import { sessionIdOf } from '../protocol/sessionName'
import type { Line, RunListener } from './news'
import type { Run } from './run'
import { Thread } from './thread'

/**
 * The chats of a connection that somebody reads or follows. Its transports share them: what one has
 * watched the other must not take back.
 */
export class Threads {
  /** Hear of the runs of all chats. */
  readonly listeners = new Set<RunListener>()
  readonly #bySession = new Map<string, Thread>()
  /** Runs that wait for an answer, of chats that nobody reads or follows now. */
  readonly #waiting = new Map<string, Run>()

  constructor(readonly line: Line) {
    line.on('session', ({ sessionId, status }) => status !== 'resumed' && this.#bySession.get(sessionId)?.lose())
    line.on('stopped', ({ error }) => {
      for (const thread of [...this.#bySession.values()]) thread.fail(error)
    })
  }

  of(chatId: string): Thread {
    const { line, listeners } = this
    const sessionId = sessionIdOf(chatId)
    const thread: Thread =
      this.find(chatId) ??
      new Thread({
        line,
        chatId,
        sessionId,
        onRun(news) {
          for (const listener of listeners) listener(news)
        },
        onIdle: () => {
          this.#bySession.delete(sessionId)
          const { current } = thread
          if (current?.state === 'suspended') this.#waiting.set(sessionId, current)
          else this.#waiting.delete(sessionId)
        },
      })
    this.#bySession.set(sessionId, thread)
    return thread
  }

  find(chatId: string): Thread | undefined {
    return this.#bySession.get(sessionIdOf(chatId))
  }

  /** The run of the chat that waits for an answer. */
  waiting(chatId: string): string | undefined {
    const run = this.find(chatId)?.current ?? this.#waiting.get(sessionIdOf(chatId))
    return run?.state === 'suspended' ? run.id : undefined
  }
}

const known = new WeakMap<object, Threads>()

export function threadsOf(line: Line): Threads {
  const threads = known.get(line) ?? new Threads(line)
  known.set(line, threads)
  return threads
}
