import { createUIMessageStream, createUIMessageStreamResponse, type UIMessage, type UIMessageChunk } from 'ai'
import { expect, onTestFinished, test } from 'vitest'
import { type Handler, listen } from '../../../tools/shared/listen'
import { join } from '../../ai-sdk/server/join'
import { gate, openPage, paced, saying, startChatServer, when } from './chatWorld'

/** An `/api/chat` route as it stands in an app, and what it was asked. */
async function startRoute(answer: (body: { messages: UIMessage[] }, request: Request) => Response | Promise<Response>) {
  const requests: { readonly body: unknown; readonly headers: Record<string, string>; readonly signal: AbortSignal }[] =
    []
  const handler: Handler = async (request) => {
    const body = await request.json()
    requests.push({ body, headers: Object.fromEntries(request.headers), signal: request.signal })
    return answer(body, request)
  }
  const route = await listen(handler)
  onTestFinished(route.close)
  return { upstream: new URL('/api/chat', route.url), requests, route }
}

test('an unchanged route answers behind it: its body is that of DefaultChatTransport, and its stream the run', async () => {
  const { upstream, requests } = await startRoute(({ messages }) =>
    createUIMessageStreamResponse({
      stream: createUIMessageStream({
        originalMessages: messages,
        generateId: () => 'from-the-route',
        execute({ writer }) {
          for (const chunk of saying('ü', ' 🌤\n\n', 'data: x')) writer.write(chunk)
        },
      }),
    }),
  )
  const server = await startChatServer({ upstream })
  const page = openPage(server.url)
  await page.chat.sendMessage({ text: 'go' }, { headers: { 'x-model': 'large' } })
  expect(page.text()).toBe('ü 🌤\n\ndata: x')
  expect(page.chat.messages[1]?.id).toBe('from-the-route')
  const { body, headers } = requests[0] ?? {}
  expect(body).toEqual({ id: 'chat', trigger: 'submit-message', messages: [page.chat.messages[0]] })
  expect(headers).toMatchObject({ 'x-model': 'large', 'content-type': 'application/json' })
  expect(headers).not.toHaveProperty('cookie')
})

test('what a route answers in place of a stream is the error of the chat', async () => {
  const { upstream } = await startRoute(() => new Response('no credit left', { status: 402 }))
  const server = await startChatServer({ upstream })
  const page = openPage(server.url)
  await page.chat.sendMessage({ text: 'go' })
  expect(page.chat.error?.message).toBe('no credit left')
})

test.each([
  ['no stream of UI messages', () => Response.json({ text: 'hi' }), /text\/event-stream.*application\/json/],
  [
    'a stream of something else',
    () => new Response('data: {"text":"hi"}\n\n', { headers: { 'Content-Type': 'text/event-stream' } }),
    /no UI message chunk: \{"text":"hi"\}/,
  ],
  ['a redirect', () => new Response(null, { status: 302, headers: { Location: '/login' } }), undefined],
] as const)('a route that answers with %s is told where it can be repaired', async (_, answer, complaint) => {
  const { upstream } = await startRoute(() => answer())
  const server = await startChatServer({ upstream })
  const page = openPage(server.url)
  await page.chat.sendMessage({ text: 'go' })
  expect(page.chat.status).toBe('error')
  if (complaint) expect(String(server.errors[0])).toMatch(complaint)
  else expect(page.chat.error?.message).toBe('the chat route answered 302')
})

test('a stop aborts the route, and so the model', async () => {
  const { upstream, requests } = await startRoute(() =>
    createUIMessageStreamResponse({ stream: paced(saying('a', 'b'), (at) => (at === 4 ? gate().opened : undefined)) }),
  )
  const server = await startChatServer({ upstream })
  const page = openPage(server.url)
  const sending = page.chat.sendMessage({ text: 'go' })
  await when(() => page.text() === 'a', 'it reads')
  page.transport.stop('chat')
  await sending
  await when(() => requests[0]?.signal.aborted, 'the route is aborted')
})

test('a stop cancels a stream that says nothing', async () => {
  let reason: unknown
  const server = await startChatServer({
    answer: () =>
      new ReadableStream({
        pull: () => gate().opened,
        cancel(why) {
          reason = why
        },
      }),
  })
  const page = openPage(server.url)
  const sending = page.chat.sendMessage({ text: 'go' })
  await when(() => server.contexts.length === 1, 'it is asked')
  page.transport.stop('chat')
  await sending
  await when(() => reason, 'it is cancelled')
})

test('a call that the provider answers is not waited for', async () => {
  const server = await startChatServer({
    answer: () =>
      paced([
        { type: 'start' },
        { type: 'tool-input-available', toolCallId: 'c', toolName: 'search', input: {}, providerExecuted: true },
        { type: 'finish' },
      ]),
  })
  const page = openPage(server.url)
  await page.chat.sendMessage({ text: 'go' })
  expect([page.chat.status, (await server.runs.active('chat')).run]).toEqual(['ready', null])
})

test('deltas of one part join; everything else stays for itself', () => {
  const event = (chunk: UIMessageChunk, more: object = {}) => ({ type: 'ui', chunk, ...more }) as never
  const text = (delta: string, more: object = {}) => ({ type: 'text-delta', id: 't', delta, ...more }) as UIMessageChunk
  const input = (inputTextDelta: string): UIMessageChunk => ({
    type: 'tool-input-delta',
    toolCallId: 'c',
    inputTextDelta,
  })
  const thought: UIMessageChunk = { type: 'reasoning-delta', id: 't', delta: 'b' }
  expect(join(event(text('a')), event(text('b')))).toEqual({ type: 'ui', chunk: text('ab') })
  expect(join(event(thought), event(thought))).toEqual({ type: 'ui', chunk: { ...thought, delta: 'bb' } })
  expect(join(event(input('{"')), event(input('a')))).toEqual({ type: 'ui', chunk: input('{"a') })
  for (const [one, other] of [
    [text('a'), text('b', { id: 'u' })],
    [text('a'), thought],
    [text('a'), text('b', { providerMetadata: {} })],
    [text('a', { providerMetadata: {} }), text('b')],
    [text('a'), { type: 'text-end', id: 't' }],
    [input('a'), { type: 'tool-input-delta', toolCallId: 'd', inputTextDelta: 'b' }],
  ] as const) {
    expect(join(event(one as UIMessageChunk), event(other as UIMessageChunk))).toBeUndefined()
  }
  expect(join(event(text('a'), { for: 'k' }), event(text('b')))).toBeUndefined()
  expect(join({ type: 'ui', for: 'k' } as never, event(text('b')))).toBeUndefined()
  expect(join({ type: 'mine', chunk: text('a') } as never, event(text('b')))).toBeUndefined()
})

test('a route whose stream is cut before its end is a failure of the run, and not a short answer', async () => {
  const chunks = ['{"type":"start"}', '{"type":"text-start","id":"t"}', '{"type":"text-delta","id":"t","delta":"a"}']
  const reply = (...data: readonly string[]) =>
    new Response(data.map((line) => `data: ${line}\n\n`).join(''), { headers: { 'Content-Type': 'text/event-stream' } })
  for (const [ends, status] of [
    [[], 'error'],
    [['{"type":"finish"}'], 'ready'],
    [['[DONE]'], 'ready'],
    [['{"type":"abort"}'], 'ready'],
  ] as const) {
    const { upstream } = await startRoute(() => reply(...chunks, ...ends))
    const page = openPage((await startChatServer({ upstream })).url)
    await page.chat.sendMessage({ text: 'go' })
    expect([ends, page.text(), page.chat.status]).toEqual([ends, 'a', status])
    if (status === 'error') expect(page.chat.error).toMatchObject({ code: 'run-failed' })
  }
})
