import { toDurableStreamResponse } from '@durable-streams/aisdk-transport'
import { generateId, type UIMessage } from 'ai'
import { stopWork } from './resumable'
import type { Stack } from './world'

/**
 * As the README of `@durable-streams/aisdk-transport` sets it up, with the stop endpoint of the AI
 * SDK, as it has none. Its stream server is a process of its own, and reads go through this one.
 */
export const durable: Stack = (world) => {
  const streams = process.env.DURABLE_URL ?? ''
  const work = new Map<string, AbortController>()

  async function post(request: Request): Promise<Response> {
    const { id, messages }: { id: string; messages: UIMessage[] } = await request.json()
    const path = `chat-${id}-${generateId()}`
    const controller = new AbortController()
    work.set(path, controller)
    await world.saveChat({ id, messages, activeStreamId: path })
    return toDurableStreamResponse({
      source: world.answer({ chatId: id, messages, signal: controller.signal }) as never,
      stream: { writeUrl: `${streams}/${path}`, readUrl: `/api/read/${path}` },
    })
  }

  async function resume(id: string): Promise<Response> {
    const { activeStreamId } = await world.readChat(id)
    if (!activeStreamId) return new Response(null, { status: 204 })
    const streamUrl = `/api/read/${activeStreamId}`
    return Response.json({ streamUrl }, { headers: { Location: streamUrl } })
  }

  async function read(request: Request, path: string): Promise<Response> {
    const answer = await fetch(`${streams}/${path}${new URL(request.url).search}`, {
      headers: { Accept: request.headers.get('accept') ?? '*/*' },
      signal: request.signal,
    })
    const headers = new Headers(answer.headers)
    for (const name of ['content-encoding', 'content-length', 'transfer-encoding', 'connection']) headers.delete(name)
    return new Response(answer.body, { status: answer.status, headers })
  }

  return {
    async fetch(request) {
      const [, , place, id = '', verb] = new URL(request.url).pathname.split('/')
      if (place === 'read') return read(request, id)
      if (request.method === 'POST' && !id) return post(request)
      if (verb === 'stream') return resume(id)
      if (verb === 'stop') return stopWork(world, work, id, request)
      return new Response(null, { status: 404 })
    },
  }
}
