import type { ChatStatus, UIMessage } from 'ai'
import { shareFollow } from '../threads/shareFollow'
import type { HoldlineChatTransport } from './chatTransport'
import type { RunNews } from './news'

/** Every `Chat` of the AI SDK: what `useChat({ chat })` is given. */
export interface FollowedChat<M extends UIMessage = UIMessage> {
  readonly id: string
  readonly status: ChatStatus
  messages: M[]
  resumeStream(options?: { readonly metadata?: unknown }): Promise<void>
}

/** How often a chat that is busy with a turn of its own is looked at, ms. */
const LOOK = 50

/**
 * Shows the turns of a chat that began elsewhere: in another tab, on another device, by the server.
 * What the user said there is put into `chat.messages`, and the answer streams in. A run that is
 * under way is resumed, so `resume: true` is not needed. A prompt that waits in the outbox, e.g.
 * typed offline before a reload, is shown at once: call this after `connection.connect()`, which
 * reads the storage.
 *
 * The chat must have the transport itself: `new Chat({ id, transport })`, given to `useChat({ chat
 * })`.
 *
 * @returns ends it
 */
export function followChat<M extends UIMessage>(
  chat: FollowedChat<M>,
  transport: HoldlineChatTransport<M>,
): () => void {
  return shareFollow(chat, chat.id, () => begin(chat, transport))
}

function begin<M extends UIMessage>(chat: FollowedChat<M>, transport: HoldlineChatTransport<M>): () => void {
  const known = new Set(chat.messages.map(({ id }) => id))
  const waiting = transport.pending(chat.id).filter(({ id }) => !known.has(id))
  if (waiting.length) chat.messages = [...chat.messages, ...waiting]
  const turns: RunNews<M>[] = []
  let timer: ReturnType<typeof setTimeout> | undefined
  const off = transport.onRun(
    (news) => {
      turns.push(news)
      timer ??= setTimeout(show)
    },
    { chat: chat.id },
  )

  async function show() {
    for (let turn = turns[0]; turn && isIdle(chat); turn = turns[0]) {
      turns.shift()
      if (turn.message) chat.messages = withTurn(chat.messages, turn.message)
      await chat.resumeStream({ metadata: turn })
    }
    timer = turns.length ? setTimeout(show, LOOK) : undefined
  }

  return () => {
    turns.length = 0
    clearTimeout(timer)
    off()
  }
}

const isIdle = ({ status }: { readonly status: ChatStatus }) => status === 'ready' || status === 'error'

/**
 * A new message is the last one. One that is there was edited, or is answered anew: what came after
 * it goes.
 */
function withTurn<M extends UIMessage>(messages: readonly M[], message: M): M[] {
  const place = messages.findIndex(({ id }) => id === message.id)
  return [...(place < 0 ? messages : messages.slice(0, place)), message]
}
