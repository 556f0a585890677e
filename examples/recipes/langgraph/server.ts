import { type CommandCall, CommandRejected } from 'holdline/server'
import type { Runs } from 'holdline/server/runs'

export interface ThreadCommand {
  readonly threadId: string
  readonly method: 'run.start' | 'input.respond'
  readonly params: { readonly [name: string]: unknown }
  /** Of the model's calls: the run has been stopped. */
  readonly signal: AbortSignal
}

export interface ThreadRunsOptions {
  readonly runs: Runs
  /**
   * Yours: what the graph says, as events of LangGraph's protocol, from the lifecycle event
   * `started` to `completed`, or `interrupted` if it waits for somebody. The graph's checkpointer
   * keeps the state of the thread.
   */
  stream(command: ThreadCommand): AsyncIterable<object>
}

/** The `onCommand` of a server whose sessions are threads. */
export function threadRuns({ runs, stream }: ThreadRunsOptions) {
  return async (call: CommandCall): Promise<{ readonly run_id?: string | undefined }> => {
    const { type, sessionId, message } = call
    if (sessionId === undefined) throw new CommandRejected(400, 'no-thread')
    if (type === 'stop') return { run_id: await runs.stop(sessionId) }
    const { method, params } = (message.command ?? {}) as Partial<ThreadCommand>
    if (type !== 'send' || !params || (method !== 'run.start' && method !== 'input.respond'))
      throw new CommandRejected(400, 'not-supported')
    const { run } = await runs.start(call, async function* (signal) {
      for await (const event of stream({ threadId: sessionId, method, params, signal }))
        yield { type: 'langgraph', event }
    })
    return { run_id: run }
  }
}
