import { sessionIdOf } from '../protocol/sessionName'
import { type Line, Thread } from './thread'

/** The threads of a connection. Agents that share the connection share them, clones too. */
export class Threads {
  readonly #threads = new Map<string, Thread>()

  constructor(readonly line: Line) {
    line.on('session', ({ sessionId, status }) => status !== 'resumed' && this.#threads.get(sessionId)?.lose())
    line.on('stopped', ({ error }) => {
      for (const thread of [...this.#threads.values()]) thread.fail(error)
    })
  }

  of(threadId: string): Thread {
    const { line } = this
    const sessionId = sessionIdOf(threadId)
    const thread =
      this.#threads.get(sessionId) ??
      new Thread({ line, threadId, sessionId, onIdle: () => this.#threads.delete(sessionId) })
    this.#threads.set(sessionId, thread)
    return thread
  }

  /** One that somebody reads or follows. */
  find(threadId: string): Thread | undefined {
    return this.#threads.get(sessionIdOf(threadId))
  }
}

const known = new WeakMap<object, Threads>()

export function threadsOf(line: Line): Threads {
  const threads = known.get(line) ?? new Threads(line)
  known.set(line, threads)
  return threads
}
