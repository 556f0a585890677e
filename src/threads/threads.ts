import type { Delivery } from '../connection/messages'
import { sessionIdOf } from '../protocol/sessionName'
import type { Line } from './line'
import { errorOf, type Kind, type Run, type RunListener } from './run'
import { Thread } from './thread'

/**
 * The threads of a connection that somebody reads or follows. All that use the connection share
 * them: what one has watched the other must not take back.
 */
export class Threads<R extends Run> {
  readonly #listeners = new Set<RunListener<R>>()
  readonly #kind: Kind<R>
  readonly #bySession = new Map<string, Thread<R>>()
  /** Runs that wait for an answer, of threads that are not read or followed now. */
  readonly #waiting = new Map<string, string>()
  readonly #broken = new Set<string>()
  /** Hear of the session of each stop. */
  readonly #stops = new Set<(sessionId: string) => void>()

  constructor(
    readonly line: Line,
    kind: Kind<R>,
  ) {
    this.#kind = kind
    line.on('session', ({ sessionId, status }) => status !== 'resumed' && this.#bySession.get(sessionId)?.lose(status))
    // To ask was cancelled or given up.
    line.on('opened', () => {
      for (const thread of this.#bySession.values()) thread.ask()
    })
    line.on('stopped', ({ error }) => this.#fail(error))
    line.on('phase', ({ phase }) => phase === 'idle' && queueMicrotask(() => this.#awaitDisposal()))
  }

  /** In a line that is closed, now or later: no event tells of it. */
  #awaitDisposal() {
    this.line.whenOpen().catch((error) => {
      if (error.code !== 'disposed') return
      this.#fail(error)
      for (const thread of this.#bySession.values()) thread.lose('gone')
    })
  }

  #fail(error: Error) {
    for (const thread of [...this.#bySession.values()]) thread.fail(error)
  }

  of(id: string): Thread<R> {
    const { line } = this
    const sessionId = sessionIdOf(id)
    const thread: Thread<R> =
      this.#bySession.get(sessionId) ??
      new Thread({
        ...this.#kind,
        line,
        id,
        sessionId,
        listeners: this.#listeners,
        broken: this.#broken,
        onIdle: () => {
          const { current } = thread
          this.#bySession.delete(sessionId)
          if (current?.state === 'suspended') this.#waiting.set(sessionId, current.id)
          else this.#waiting.delete(sessionId)
        },
      })
    this.#bySession.set(sessionId, thread)
    return thread
  }

  /** Hears of the runs of all threads. Returns the function that unsubscribes. */
  listen(listener: RunListener<R>): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The run of the thread that waits for an answer. */
  waiting(id: string): string | undefined {
    const sessionId = sessionIdOf(id)
    const run = this.#bySession.get(sessionId)?.current
    return run ? (run.state === 'suspended' ? run.id : undefined) : this.#waiting.get(sessionId)
  }

  /**
   * Waits for a message that is still being made.
   *
   * @throws AbortError as soon as its thread is stopped: it is never sent
   */
  async unlessStopped<T>(id: string, message: Promise<T>): Promise<T> {
    const sessionId = sessionIdOf(id)
    let hear = (_stopped: string) => {}
    const stopped = new Promise<never>((_, reject) => {
      hear = (session) => session === sessionId && reject(errorOf('stopped'))
    })
    this.#stops.add(hear)
    try {
      return await Promise.race([message, stopped])
    } finally {
      this.#stops.delete(hear)
    }
  }

  /** Ends the run of the thread, for everybody who reads it; here at once. */
  stop(id: string): Delivery {
    const sessionId = sessionIdOf(id)
    const thread = this.#bySession.get(sessionId)
    const run = thread?.current?.id
    const delivery = this.line.send({ type: 'stop', sessionId, ...(run && { run }) })
    thread?.stop()
    for (const hear of this.#stops) hear(sessionId)
    return delivery
  }
}

/** Of one kind of runs: one `Threads` for each connection. */
export function sharing<R extends Run>(kind: Kind<R>): (line: Line) => Threads<R> {
  const known = new WeakMap<Line, Threads<R>>()
  return (line) => {
    const threads = known.get(line) ?? new Threads(line, kind)
    known.set(line, threads)
    return threads
  }
}
