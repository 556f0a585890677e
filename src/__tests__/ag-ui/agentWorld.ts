import type { AgentSubscriber, BaseEvent, RunAgentInput } from '@ag-ui/client'
import type { ConnectionOptions } from 'holdline'
import { onTestFinished } from 'vitest'
import { followAgent, HoldlineAgent, type HoldlineAgentConfig } from '../../ag-ui'
import { type AguiContext, type AguiSource, aguiRuns } from '../../ag-ui/server'
import { createLine, type RunsServerSetup, startRunsServer, tick } from '../support/runsWorld'

export { gate, when, words } from '../support/runsWorld'

export type Answer = (input: RunAgentInput, context: AguiContext) => AguiSource

export interface AgentServerSetup extends RunsServerSetup {
  readonly answer?: Answer
  readonly upstream?: URL
}

/** A real server half whose sessions are threads. */
export async function startAgentServer({ answer, upstream, ...setup }: AgentServerSetup) {
  const inputs: RunAgentInput[] = []
  const run: Answer = (input, context) => {
    inputs.push(input)
    if (!answer) throw new Error('this server answers nothing')
    return answer(input, context)
  }
  const server = await startRunsServer(setup, (runs) => aguiRuns(upstream ? { runs, upstream } : { runs, run }))
  return Object.assign(server, { inputs })
}

export interface PageSetup extends Omit<HoldlineAgentConfig, 'connection'> {
  readonly line?: Partial<ConnectionOptions>
  readonly isOffline?: boolean
  readonly follows?: boolean
}

/**
 * A page with one agent, as an AG-UI app makes it, and all events that its subscribers ever heard.
 */
export function openPage(url: string, { line, isOffline, follows, ...config }: PageSetup = {}) {
  const connection = createLine(url, line)
  const agent = new HoldlineAgent({ connection, threadId: 'thread', ...config })
  const events: BaseEvent[] = []
  const failures: Error[] = []
  const listener: AgentSubscriber = {
    onEvent: ({ event }) => void events.push(event),
    // Else the agent writes it to the console.
    onRunFailed({ error }) {
      failures.push(error)
      return { stopPropagation: true } as object
    },
  }
  agent.subscribe(listener)
  const unfollow = follows ? followAgent(agent) : () => {}
  if (!isOffline) connection.connect()
  const close = () => {
    unfollow()
    connection.dispose()
  }
  onTestFinished(close)
  return {
    connection,
    agent,
    events,
    failures,
    close,
    say(content: string) {
      agent.addMessage({ id: crypto.randomUUID(), role: 'user', content })
      return agent.runAgent()
    },
    types: () => events.map(({ type }) => type as string),
    texts: () => agent.messages.map(({ role, content }) => `${role}:${String(content ?? '')}`),
    text: () => {
      const last = agent.messages.at(-1)
      return last?.role === 'assistant' ? String(last.content ?? '') : ''
    },
    last: () => events.at(-1) as (BaseEvent & Record<string, unknown>) | undefined,
  }
}

/** Fields of an event, whose `type` is a string as on the wire. */
export type Plain = { readonly type: string; readonly [field: string]: unknown }

/** Events that wait, each one, for what the test decides. */
export async function* paced(
  events: readonly Plain[],
  pace: (index: number) => unknown = tick,
): AsyncGenerator<BaseEvent> {
  for (const [index, event] of events.entries()) {
    await pace(index)
    yield event as unknown as BaseEvent
  }
  await pace(events.length)
}

/** A run of one message. Its first delta is event 2. */
export const saying = ({ threadId, runId }: RunAgentInput, ...deltas: readonly string[]): readonly Plain[] => [
  { type: 'RUN_STARTED', threadId, runId },
  { type: 'TEXT_MESSAGE_START', messageId: `m-${runId}`, role: 'assistant' },
  ...deltas.map((delta) => ({ type: 'TEXT_MESSAGE_CONTENT', messageId: `m-${runId}`, delta })),
  { type: 'TEXT_MESSAGE_END', messageId: `m-${runId}` },
  { type: 'RUN_FINISHED', threadId, runId },
]
