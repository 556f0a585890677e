import type { AgentSubscriber, BaseEvent, RunAgentInput } from '@ag-ui/client'
import { type Connection, type ConnectionOptions, createConnection } from 'holdline'
import { onTestFinished, vi } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import { followAgent, HoldlineAgent, type HoldlineAgentConfig } from '../../ag-ui'
import { type AguiContext, type AguiSource, aguiRuns } from '../../ag-ui/server'
import { type ChatServer, createChatServer, type SessionLog } from '../../server'
import { createRuns, type Runs, type RunsOptions } from '../../server/runs'

export type Answer = (input: RunAgentInput, context: AguiContext) => AguiSource

export interface AgentServerSetup extends Pick<RunsOptions, 'onBusy' | 'lease' | 'suspendAge'> {
  readonly log?: SessionLog
  readonly answer?: Answer
  readonly upstream?: URL
}

/** A real server half whose sessions are threads: `alice` may do everything in all of them. */
export async function startAgentServer({ log, answer, upstream, ...settings }: AgentServerSetup) {
  const inputs: RunAgentInput[] = []
  const errors: unknown[] = []
  const server: ChatServer = createChatServer({
    ...(log && { log }),
    authenticate: () => ({ id: 'alice' }),
    authorize: () => true,
    onCommand: (call) => onCommand(call),
    onError: (error) => void errors.push(error),
    allowedHosts: 'any',
    limits: { bodyRate: 2 ** 30 },
  })
  const runs: Runs = createRuns({ server, ...settings })
  const run: Answer = (input, context) => {
    inputs.push(input)
    if (!answer) throw new Error('this server answers nothing')
    return answer(input, context)
  }
  const onCommand = aguiRuns(upstream ? { runs, upstream } : { runs, run })
  const http = await listen((request) => server.fetch(request))
  onTestFinished(async () => {
    await Promise.all([server.close(), http.close()])
  })
  return {
    ...http,
    get streams() {
      return http.streams
    },
    server,
    runs,
    inputs,
    errors,
  }
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
  const connection: Connection = createConnection({
    url,
    backoff: { base: 10, cap: 40 },
    pageLifecycle: false,
    ...line,
  })
  // The sockets die on purpose.
  connection.on('error', () => {})
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
  pace: (index: number) => unknown = () => new Promise((resolve) => setImmediate(resolve)),
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

export const words = (count: number) => Array.from({ length: count }, (_, index) => `${index} `)

/** Resolves when the test opens it. */
export function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open: () => open(), opened }
}

export const when = (isMet: () => unknown, what: string) =>
  vi.waitFor(
    () => {
      if (!isMet()) throw new Error(`never happened: ${what}`)
    },
    { timeout: 20_000, interval: 5 },
  )
