import type { ChatTransport, UIMessage } from 'ai'
import type { Connection } from '../connection/api'
import type { Delivery } from '../connection/messages'
import { ConnectionError } from '../errors'
import { type JsonObject, MAX_BATCH_BYTES } from '../protocol'
import { sessionIdOf } from '../protocol/sessionName'
import type { Line } from '../threads/line'
import { refuseLarge } from '../threads/refuseLarge'
import { Answer } from './answer'
import type { RunNews } from './news'
import { type ChatRun, threadsOf } from './run'
import { type ChatCommand, lastOf, promptOf } from './wire'

type SendOptions<M extends UIMessage> = Parameters<ChatTransport<M>['sendMessages']>[0]

/** What `prepareSendMessagesRequest` is given; the names are those of `DefaultChatTransport`. */
export interface SendMessagesRequest<M extends UIMessage> {
  /** The chat's id. */
  readonly id: string
  readonly messages: M[]
  readonly trigger: 'submit-message' | 'regenerate-message'
  readonly messageId: string | undefined
  readonly requestMetadata: unknown
  readonly body: Record<string, unknown> | undefined
  readonly headers: Readonly<Record<string, string>>
}

/** What it returns. */
export interface PreparedRequest {
  /**
   * Posted in place of `{ ...body, id, messages, trigger, messageId }`. JSON; `messages`, or
   * `message` alone, stays under that name.
   */
  readonly body: object
  /** Default: those that were given. */
  readonly headers?: HeadersInit
}

export interface ChatTransportOptions<M extends UIMessage = UIMessage> {
  /**
   * Makes the body of each message, e.g. the last message alone, or with its files uploaded.
   * Default: all messages.
   */
  prepareSendMessagesRequest?(request: SendMessagesRequest<M>): PreparedRequest | PromiseLike<PreparedRequest>
  /**
   * What an abort means: `useChat`'s `stop()`, and with `@ai-sdk/react` 4 an unmount too. `detach`:
   * this page reads no more, the run goes on. `stop`: as `stop(chatId)`, once the answer is read.
   * Default: `detach`.
   */
  readonly onAbort?: 'detach' | 'stop'
  /**
   * The size of a message as JSON, bytes; a larger one is refused before it is sent. The server's
   * `limits.bodyBytes`. Default: 262,144 (256 KiB).
   */
  readonly maxBytes?: number
}

/**
 * A `ChatTransport` over a connection, for `useChat` and every other chat of the AI SDK, 6 or 7.
 */
export interface HoldlineChatTransport<M extends UIMessage = UIMessage> extends ChatTransport<M> {
  readonly resumeStreamIsReplay: true
  /**
   * Ends the run of a chat, for everybody who reads it. The answer ends here at once, with what it
   * has; offline, the run ends when the line is back, and a message that was not posted yet, or is
   * being prepared, never is.
   */
  stop(chatId: string): Delivery
  /**
   * What the user said and the server has not yet taken, oldest first; after a reload too, with
   * `storage` on the connection.
   */
  pending(chatId: string): readonly M[]
  /**
   * Hears of runs that no stream of this page reads: they began elsewhere. With `chat`, that chat
   * is followed as long as the listener is there; without it, the listener hears of those chats
   * that are read or followed anyway. Returns the function that unsubscribes.
   */
  onRun(listener: (news: RunNews<M>) => void, scope?: { readonly chat: string }): () => void
}

/**
 * The messages go up through the connection's outbox, and the answers come down as runs of the
 * session whose id is the chat's. The other half is `uiMessageRuns` of `holdline/ai-sdk/server`.
 * `connection.connect()` is the app's to call.
 *
 * @throws {ConnectionError} `invalid-option`, naming the option
 */
export function createChatTransport<M extends UIMessage = UIMessage>(
  // biome-ignore lint/suspicious/noExplicitAny: whatever other messages the app's connection carries
  connection: Connection<any, any>,
  options: ChatTransportOptions<M> = {},
): HoldlineChatTransport<M> {
  const { prepareSendMessagesRequest: prepare, onAbort = 'detach', maxBytes = MAX_BATCH_BYTES } = checked(options)
  const line: Line = connection
  const threads = threadsOf(line)
  const runs = new WeakMap<object, ChatRun>()

  /** The answer ends by an abort, whoever caused it. */
  function abortable(chatId: string, answer: Answer, signal: AbortSignal | undefined) {
    const thread = threads.of(chatId)
    const abort = () => {
      if (!answer.name) answer.end(signal?.reason)
      else if (onAbort === 'stop' && answer.state !== 'over') threads.stop(chatId)
      else thread.leave(answer)
    }
    signal?.addEventListener('abort', abort, { once: true })
    return thread
  }

  return {
    resumeStreamIsReplay: true,

    async sendMessages({ abortSignal, ...request }) {
      const { chatId } = request
      const made = commandOf(request, prepare, threads.waiting(chatId))
      const command = await threads.unlessStopped(chatId, made)
      refuseLarge(command, maxBytes, 'send the last message alone, and URLs for files (prepareSendMessagesRequest)')
      abortSignal?.throwIfAborted()
      const delivery = line.send({ ...command })
      const answer = new Answer(delivery.id)
      abortable(chatId, answer, abortSignal).answer(answer, delivery)
      return answer.stream
    },

    // `followChat` gives the news that it shows.
    async reconnectToStream({ chatId, abortSignal, metadata }) {
      abortSignal?.throwIfAborted()
      const answer = new Answer()
      void abortable(chatId, answer, abortSignal).resume(answer, runs.get(Object(metadata)))
      return answer.found()
    },

    stop: (chatId) => threads.stop(chatId),

    pending: (chatId) => promptsIn<M>(line, chatId),

    onRun(listener, scope) {
      const hear = (run: ChatRun, chatId: string) => {
        const news = { chatId, run: run.id, message: run.prompt as M | undefined }
        runs.set(news, run)
        listener(news)
      }
      return scope ? threads.of(scope.chat).follow(hear) : threads.listen(hear)
    },
  }
}

function promptsIn<M extends UIMessage>({ pending }: Line, chatId: string): readonly M[] {
  const id = sessionIdOf(chatId)
  return pending.flatMap(({ message }) => {
    const { type, sessionId, request }: JsonObject = message
    const prompt = type === 'send' && sessionId === id && promptOf(request)
    return prompt ? [prompt as M] : []
  })
}

const RULES: Readonly<Record<string, (value: unknown) => boolean>> = {
  prepareSendMessagesRequest: (value) => typeof value === 'function',
  onAbort: (value) => value === 'detach' || value === 'stop',
  maxBytes: (value) => Number(value) > 0,
}

function checked<M extends UIMessage>(options: ChatTransportOptions<M>): ChatTransportOptions<M> {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !RULES[name]?.(value))
      throw new ConnectionError('invalid-option', `createChatTransport: ${name} is no option, or its value is none`)
  }
  return options
}

async function commandOf<M extends UIMessage>(
  { chatId: id, messages, trigger, messageId, metadata, body, headers: given }: Omit<SendOptions<M>, 'abortSignal'>,
  prepare: ChatTransportOptions<M>['prepareSendMessagesRequest'],
  waiting: string | undefined,
): Promise<ChatCommand> {
  const plain = (init: HeadersInit | undefined) => Object.fromEntries(new Headers(init))
  const headers = plain(given)
  const prepared = await prepare?.({
    id,
    messages,
    trigger,
    messageId,
    requestMetadata: metadata,
    body: body as never,
    headers,
  })
  const own = prepared?.headers ? plain(prepared.headers) : headers
  const request = prepared?.body ?? { ...body, id, messages, trigger, messageId }
  const isAnswer = waiting !== undefined && lastOf(request)?.role === 'assistant'
  return {
    type: 'send',
    sessionId: sessionIdOf(id),
    trigger,
    request,
    ...(isAnswer && { answers: waiting }),
    ...(Object.keys(own).length > 0 && { headers: own }),
  }
}
