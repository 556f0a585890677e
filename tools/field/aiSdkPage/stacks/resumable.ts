import { createUIMessageStreamResponse, generateId, UI_MESSAGE_STREAM_HEADERS, type UIMessage } from 'ai'
import { createResumableStreamContext } from 'resumable-stream/ioredis'
import type { Stack, World } from './world'

/**
 * As the AI SDK's "Chatbot Resume Streams" sets it up: a POST handler that makes resumable streams,
 * a GET handler that resumes them, a stop endpoint that saves what the page has, and aborts the
 * model.
 */
export const resumable: Stack = (world) => {
  const context = createResumableStreamContext({ waitUntil: () => {} })
  const work = new Map<string, AbortController>()

  async function post(request: Request): Promise<Response> {
    const { id, message }: { id: string; message: UIMessage } = await request.json()
    const messages = world.withMessage((await world.readChat(id)).messages, message)
    await world.saveChat({ id, messages, activeStreamId: null })
    const streamId = generateId()
    const controller = new AbortController()
    work.set(streamId, controller)
    return createUIMessageStreamResponse({
      stream: world.answer({ chatId: id, messages, signal: controller.signal }),
      async consumeSseStream({ stream }) {
        await context.createNewResumableStream(streamId, () => stream)
        await world.saveChat({ id, activeStreamId: streamId })
      },
    })
  }

  async function resume(id: string): Promise<Response> {
    const { activeStreamId } = await world.readChat(id)
    if (!activeStreamId) return new Response(null, { status: 204 })
    return new Response(await context.resumeExistingStream(activeStreamId), { headers: UI_MESSAGE_STREAM_HEADERS })
  }

  return {
    async fetch(request) {
      const [, , , id = '', verb] = new URL(request.url).pathname.split('/')
      if (request.method === 'POST' && !id) return post(request)
      if (verb === 'stream') return resume(id)
      if (verb === 'stop') return stopWork(world, work, id, request)
      return new Response(null, { status: 404 })
    },
  }
}

/** The documented stop endpoint. */
export async function stopWork(world: World, work: Map<string, AbortController>, id: string, request: Request) {
  const { activeStreamId, messages } = await world.readChat(id)
  if (activeStreamId) {
    const { assistantMessage }: { assistantMessage?: UIMessage } = await request.json()
    if (assistantMessage) await world.saveChat({ id, messages: world.withMessage(messages, assistantMessage) })
    work.get(activeStreamId)?.abort()
    if ((await world.readChat(id)).activeStreamId === activeStreamId) await world.saveChat({ id, activeStreamId: null })
  }
  return Response.json({ success: true })
}
