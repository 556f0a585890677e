import { setTimeout as delay } from 'node:timers/promises'
import { type ConnectionOptions, type Cursor, createConnection, type HeadersHook } from 'holdline'

/** What the session asks for. `id` is the server's name for it. */
export type Task = {
  readonly type: 'task'
  readonly sessionId: string
  readonly seq: number
  readonly epoch?: string
  readonly id: string
  readonly prompt: string
}
type Answer = { readonly type: 'answer'; readonly sessionId: string; readonly task: string } & (
  | { readonly text: string }
  | { readonly error: string }
)

export interface Work {
  readonly sessionId: string
  perform(task: Task): Promise<string>
  /**
   * The last task that was answered. Give it back as `cursors`, and the next process goes on after
   * it.
   */
  save(cursor: Cursor): unknown
  /** Told once, if an answer or its cursor is lost: the agent has ended. */
  fail(error: unknown): void
}

/**
 * Follows a session and answers its tasks, one after the other. The connection's own cursor says
 * what was taken on, not what was done; so the one that is kept is that of the last answer, and a
 * task that a crash interrupted comes again.
 */
export function createAgent(options: ConnectionOptions, { sessionId, perform, save, fail }: Work) {
  const connection = createConnection<Task, Answer>({ ...options, protocol: { endpoints: { answer: 'answer' } } })
  let isStopping = false
  let work = Promise.resolve()

  async function answer(task: Task) {
    // It is the next process's.
    if (isStopping) return
    const result = await perform(task).then(
      (text) => ({ text }),
      (error) => ({ error: String(error) }),
    )
    // The same task has the same answer id: a server with `idempotency` takes it once, whatever
    // became of the process before.
    const id = `answer-${task.id}`
    const verdict = await connection.send({ type: 'answer', sessionId, task: task.id, ...result }, { id }).settled
    // Nobody knows whether it was taken. To go on would be to leave it behind.
    if (verdict.status === 'unknown') throw verdict.error
    await save({ sessionId, lastSeq: task.seq, ...(task.epoch !== undefined && { epoch: task.epoch }) })
  }

  /** The next process begins with the task that could not be answered or saved. */
  function end(error: unknown) {
    if (!isStopping) fail(error)
    isStopping = true
    connection.dispose()
  }

  connection.on('message', (message) => {
    if (message.type === 'task' && message.sessionId === sessionId) work = work.then(() => answer(message)).catch(end)
  })
  connection.watch(sessionId)
  connection.connect()

  return {
    connection,
    /**
     * Ends the task that it is at, but waits no longer than `grace` ms for that and for its
     * verdict. Then nothing keeps the process.
     */
    async stop(grace = 10_000) {
      isStopping = true
      await Promise.race([work, delay(grace, undefined, { ref: false })])
      connection.dispose()
    },
  }
}

/** A token for many requests, and another one when it is refused. */
export function bearer(renew: () => Promise<string>): HeadersHook {
  let token: Promise<string> | undefined
  return async ({ reason }) => {
    if (reason === 'unauthorized') token = undefined
    token ??= renew()
    try {
      return { authorization: `Bearer ${await token}` }
    } catch (error) {
      // The next request asks again.
      token = undefined
      throw error
    }
  }
}
