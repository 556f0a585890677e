import { Chat } from '@ai-sdk/react'
import type { UIMessage, UIMessageChunk } from 'ai'
import { type Connection, type ConnectionOptions, createConnection } from 'holdline'
import { onTestFinished, vi } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import { type ChatTransportOptions, createChatTransport, followChat } from '../../ai-sdk'
import { type UIMessageContext, type UIMessageRunsOptions, uiMessageRuns } from '../../ai-sdk/server'
import { type ChatServer, type ChatServerOptions, createChatServer, type SessionLog } from '../../server'
import { createRuns, type Runs, type RunsOptions } from '../../server/runs'

export type Answer = (context: UIMessageContext) => ReadableStream<UIMessageChunk> | Response

export interface ChatServerSetup extends Pick<RunsOptions, 'onBusy' | 'lease' | 'suspendAge'> {
  readonly log?: SessionLog
  readonly answer?: Answer
  readonly upstream?: URL
  readonly authorize?: ChatServerOptions['authorize']
}

/** A real server half whose sessions are chats: `alice` may do everything in all of them. */
export async function startChatServer({ log, answer, upstream, authorize = () => true, ...settings }: ChatServerSetup) {
  const contexts: UIMessageContext[] = []
  const errors: unknown[] = []
  const server: ChatServer = createChatServer({
    ...(log && { log }),
    authenticate: () => ({ id: 'alice' }),
    authorize,
    onCommand: (call) => onCommand(call),
    onError: (error) => void errors.push(error),
    allowedHosts: 'any',
    limits: { bodyRate: 2 ** 30 },
  })
  const runs: Runs = createRuns({ server, ...settings })
  const options: UIMessageRunsOptions = upstream
    ? { runs, upstream }
    : {
        runs,
        stream(context) {
          contexts.push(context)
          if (!answer) throw new Error('this server answers nothing')
          return answer(context)
        },
      }
  const onCommand = uiMessageRuns(options)
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
    contexts,
    errors,
  }
}

export interface PageSetup extends ChatTransportOptions {
  readonly id?: string
  readonly messages?: UIMessage[]
  readonly connection?: Partial<ConnectionOptions>
  readonly isOffline?: boolean
  readonly follows?: boolean
  readonly sendAutomaticallyWhen?: (options: { messages: UIMessage[] }) => boolean
}

/** A page with one chat, as `useChat` makes it, and all that it ever said of its status. */
export function openPage(url: string, setup: PageSetup = {}) {
  const { id = 'chat', messages = [], connection: more, isOffline, follows, sendAutomaticallyWhen, ...options } = setup
  const connection: Connection = createConnection({
    url,
    backoff: { base: 10, cap: 40 },
    pageLifecycle: false,
    ...more,
  })
  // The sockets die on purpose.
  connection.on('error', () => {})
  const transport = createChatTransport(connection, options)
  const finishes: {
    readonly isAbort: boolean
    readonly isError: boolean
    readonly finishReason?: string | undefined
  }[] = []
  const chat = new Chat<UIMessage>({
    id,
    messages,
    transport,
    onFinish: ({ isAbort, isError, finishReason }) => void finishes.push({ isAbort, isError, finishReason }),
    ...(sendAutomaticallyWhen && { sendAutomaticallyWhen }),
  })
  const statuses: string[] = []
  // The way that the chats of all frameworks go.
  const inner = chat as unknown as { setStatus(next: { status: string }): void }
  const setStatus = inner.setStatus.bind(chat)
  inner.setStatus = (next) => {
    if ((statuses.at(-1) ?? 'ready') !== next.status) statuses.push(next.status)
    setStatus(next)
  }
  const unfollow = follows ? followChat(chat, transport) : () => {}
  if (!isOffline) connection.connect()
  const close = () => {
    unfollow()
    connection.dispose()
  }
  onTestFinished(close)
  return {
    unfollow,
    connection,
    transport,
    chat,
    statuses,
    finishes,
    close,
    text: () => textOf(chat),
    texts: () => chat.messages.map(partsOf),
  }
}

const partsOf = ({ role, parts }: UIMessage) =>
  [role, ...parts.flatMap((part) => (part.type === 'text' || part.type === 'reasoning' ? [part.text] : []))].join(':')

/** The text of the last message; its parts, if it has several, with a bar between. */
export const textOf = ({ messages }: { readonly messages: readonly UIMessage[] }) => {
  const last = messages.at(-1)
  return last?.role === 'assistant'
    ? last.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('|')
    : ''
}

/** A stream that waits, at each chunk, for what the test decides. */
export function paced(
  chunks: readonly UIMessageChunk[],
  pace: (index: number) => unknown = () => new Promise((resolve) => setImmediate(resolve)),
): ReadableStream<UIMessageChunk> {
  let at = 0
  return new ReadableStream(
    {
      async pull(controller) {
        await pace(at)
        const chunk = chunks[at++]
        if (chunk) controller.enqueue(chunk)
        else controller.close()
      },
    },
    { highWaterMark: 0 },
  )
}

/** An answer of one text part. */
export const saying = (...deltas: readonly string[]): readonly UIMessageChunk[] => [
  { type: 'start' },
  { type: 'start-step' },
  { type: 'text-start', id: 't' },
  ...deltas.map((delta): UIMessageChunk => ({ type: 'text-delta', id: 't', delta })),
  { type: 'text-end', id: 't' },
  { type: 'finish-step' },
  { type: 'finish', finishReason: 'stop' },
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
