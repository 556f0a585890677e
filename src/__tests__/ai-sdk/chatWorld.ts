import { Chat } from '@ai-sdk/react'
import type { UIMessage, UIMessageChunk } from 'ai'
import type { ConnectionOptions } from 'holdline'
import { onTestFinished } from 'vitest'
import { type ChatTransportOptions, createChatTransport, followChat } from '../../ai-sdk'
import { type UIMessageContext, uiMessageRuns } from '../../ai-sdk/server'
import { createLine, type RunsServerSetup, startRunsServer, tick } from '../support/runsWorld'

export { gate, when, words } from '../support/runsWorld'

export type Answer = (context: UIMessageContext) => ReadableStream<UIMessageChunk> | Response

export interface ChatServerSetup extends RunsServerSetup {
  readonly answer?: Answer
  readonly upstream?: URL
}

/** A real server half whose sessions are chats. */
export async function startChatServer({ answer, upstream, ...setup }: ChatServerSetup) {
  const contexts: UIMessageContext[] = []
  const stream: Answer = (context) => {
    contexts.push(context)
    if (!answer) throw new Error('this server answers nothing')
    return answer(context)
  }
  const server = await startRunsServer(setup, (runs) => uiMessageRuns(upstream ? { runs, upstream } : { runs, stream }))
  return Object.assign(server, { contexts })
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
  const connection = createLine(url, more)
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
  pace: (index: number) => unknown = tick,
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
