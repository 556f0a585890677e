import { createUIMessageStream, generateId, type UIMessage, type UIMessageChunk } from 'ai'
import type { Redis } from 'ioredis'
import { say } from '../model'

/** One stack: the routes of an app, beside its page. */
export type Stack = (world: World) => { fetch(request: Request): Response | Promise<Response> }

interface StoredChat {
  readonly messages: UIMessage[]
  readonly activeStreamId: string | null
}

export interface Asked {
  readonly chatId: string
  readonly messages: UIMessage[]
  /** The id of the answer. Default: one that is made up. */
  readonly id?: string
  /** Aborts the model. */
  readonly signal: AbortSignal
}

/** What all stacks have in common: the app's own store of chats, in Redis, and a model. */
export class World {
  constructor(
    readonly redis: Redis,
    readonly redisUrl: string,
  ) {}

  async readChat(id: string): Promise<StoredChat> {
    const { messages = '[]', activeStreamId = '' } = await this.redis.hgetall(`app:chat:${id}`)
    return { messages: JSON.parse(messages), activeStreamId: activeStreamId || null }
  }

  async saveChat({ id, messages, activeStreamId }: Partial<StoredChat> & { readonly id: string }) {
    await this.redis.hset(`app:chat:${id}`, {
      ...(messages && { messages: JSON.stringify(messages) }),
      ...(activeStreamId !== undefined && { activeStreamId: activeStreamId ?? '' }),
    })
  }

  /** A new message is the last one; one that the store has is answered anew. */
  withMessage(stored: readonly UIMessage[], message: UIMessage): UIMessage[] {
    const place = stored.findIndex(({ id }) => id === message.id)
    return [...(place < 0 ? stored : stored.slice(0, place)), message]
  }

  /** The model's answer, saved at its end, also if that is an abort. */
  answer({ chatId, messages, id, signal }: Asked): ReadableStream<UIMessageChunk> {
    const { redis } = this
    return createUIMessageStream({
      originalMessages: messages,
      generateId: id ? () => id : generateId,
      onFinish: ({ messages }) => this.saveChat({ id: chatId, messages, activeStreamId: null }),
      async execute({ writer }) {
        await redis.hincrby(`app:model:${chatId}`, 'asked', 1)
        writer.write({ type: 'start' })
        writer.write({ type: 'text-start', id: 'text' })
        for await (const delta of say(signal)) {
          writer.write({ type: 'text-delta', id: 'text', delta })
          await redis.hincrby(`app:model:${chatId}`, 'words', 1)
        }
        if (signal.aborted) return writer.write({ type: 'abort' })
        writer.write({ type: 'text-end', id: 'text' })
        writer.write({ type: 'finish' })
      },
    })
  }
}
