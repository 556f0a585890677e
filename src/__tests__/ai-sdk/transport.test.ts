import { Chat } from '@ai-sdk/react'
import type { UIMessage, UIMessageChunk } from 'ai'
import { createConnection, type Delivery } from 'holdline'
import { expect, onTestFinished, test, vi } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import { createChatTransport, followChat, sessionIdOf } from '../../ai-sdk'
import { chatIdOf, uiMessageRuns } from '../../ai-sdk/server'
import { createChatServer } from '../../server'
import { createRuns } from '../../server/runs'
import { startScripted } from '../support/runsWorld'
import { gate, openPage, paced, saying, startChatServer, when } from './chatWorld'

const user = (id: string, text = 'go'): UIMessage => ({ id, role: 'user', parts: [{ type: 'text', text }] })

const ui = (chunk: UIMessageChunk) => ({ type: 'ui', chunk })
const delta = (text: string) => ui({ type: 'text-delta', id: 't', delta: text })
const opening = (run: string, key: string) => [
  { type: 'run.started', run },
  { type: 'ui', for: key },
  ui({ type: 'start', messageId: 'm' }),
  ui({ type: 'text-start', id: 't' }),
]

test('an answer begins to stream before the POST that asked for it is answered', async () => {
  const answered = gate()
  const { url, publish } = await startScripted('chat', async ({ idempotencyKey = '' }) => {
    await publish(...opening('r', idempotencyKey), delta('a'))
    await answered.opened
    return { run: 'r', state: 'running', after: 0, head: 0, epoch: '' }
  })
  const page = openPage(url)
  const sending = page.chat.sendMessage({ text: 'go' })
  await when(() => page.text() === 'a', 'it streams')
  answered.open()
  await publish({ type: 'run.ended', run: 'r', reason: 'finished' })
  await sending
  expect(page.chat.status).toBe('ready')
})

test('a begin of the known run clears its buffer: who reads it goes on where it was', async () => {
  const { url, publish } = await startScripted('chat', async ({ idempotencyKey = '' }) => {
    await publish(...opening('r', idempotencyKey), delta('a'), delta('b'))
    await publish(...opening('r', idempotencyKey), delta('a'), delta('b'), delta('c'))
    await publish({ type: 'run.ended', run: 'r', reason: 'finished' })
    return { run: 'r', state: 'running', after: 0, head: 0, epoch: '' }
  })
  const page = openPage(url)
  await page.chat.sendMessage({ text: 'go' })
  expect([page.text(), page.chat.status]).toEqual(['abc', 'ready'])
})

test('what the run waited for before the page came does not end its stream, however slowly the replay comes', async () => {
  const [asked, answered] = [gate(), gate()]
  const { url, publish } = await startScripted('chat', async () => {
    await publish(...opening('r', 'k'), delta('a'), { type: 'run.suspended', run: 'r', waitsFor: {} })
    void asked.opened
      .then(() => publish({ type: 'run.resumed', run: 'r' }, delta('b')))
      .then(async () => {
        await answered.opened
        await publish({ type: 'run.suspended', run: 'r', waitsFor: {} })
      })
    return { run: 'r', state: 'running', after: 0, head: 8, epoch: '' }
  })
  const page = openPage(url)
  const resuming = page.chat.resumeStream()
  await when(() => page.text() === 'a', 'it reads')
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(page.chat.status).toBe('streaming')
  asked.open()
  await when(() => page.text() === 'ab', 'it reads on')
  answered.open()
  await resuming
  expect(page.chat.status).toBe('ready')
})

test('a page whose connection came to follow the session in the middle of the run has it from its begin all the same', async () => {
  const half = gate()
  const server = await startChatServer({
    answer: () =>
      paced(saying('a', 'b', 'c'), (at) =>
        at === 5 ? half.opened : at < 4 && new Promise((resolve) => setTimeout(resolve, 30)),
      ),
  })
  const page = openPage(server.url)
  const other = openPage(server.url)
  await when(() => other.connection.isOpen, 'open')
  const sending = page.chat.sendMessage({ text: 'go' })
  await when(() => page.chat.messages.length === 2, 'it has begun')
  other.connection.watch('chat', { after: 'head' })
  await when(() => page.text() === 'ab', 'it reads')
  await when(() => (other.connection.cursor('chat')?.lastSeq ?? 2 ** 53) < 2 ** 50, 'it follows from the middle')
  const resuming = other.chat.resumeStream()
  await when(() => other.text() === 'ab', 'it reads from the begin')
  half.open()
  await Promise.all([sending, resuming])
  expect([other.text(), other.chat.status]).toEqual(['abc', 'ready'])
})

test('an abort after the end stops nothing', async () => {
  const server = await startChatServer({
    answer: ({ messages }) =>
      paced(saying('a'), (at) => (at === 3 && messages[0]?.id === 'two' ? gate().opened : undefined)),
  })
  const { transport } = openPage(server.url, { onAbort: 'stop' })
  const ask = (id: string, abortSignal?: AbortSignal) =>
    transport.sendMessages({
      chatId: 'chat',
      trigger: 'submit-message',
      messageId: undefined,
      messages: [user(id)],
      abortSignal,
    })
  const controller = new AbortController()
  for await (const _ of await ask('one', controller.signal)) {
    // To its end.
  }
  const reader = (await ask('two')).getReader()
  await reader.read()
  controller.abort()
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect((await server.runs.active('chat')).run?.state).toBe('running')
})

test('junk in the session disturbs nobody', async () => {
  const { url, publish } = await startScripted('chat', async ({ idempotencyKey = '' }) => {
    await publish(delta('before any run'), { type: 'run.ended', run: 'other', reason: 'finished' })
    await publish(...opening('r', idempotencyKey), delta('a'))
    await publish(
      { type: 'ui' },
      { type: 'ui', chunk: null },
      { type: 'ui', chunk: { type: 5 } },
      { type: 'ui', for: 7, prompt: 'x' },
      { type: 'run.started' },
      { type: 'run.ended', run: { id: 'r' } },
      { type: 'run.suspended', run: 'other' },
      { type: 'text-delta', id: 't', delta: 'of another part of the app' },
    )
    await publish(delta('b'), { type: 'run.ended', run: 'r', reason: 'finished' })
    return { run: 'r', state: 'running', after: 0, head: 0, epoch: '' }
  })
  const page = openPage(url)
  await page.chat.sendMessage({ text: 'go' })
  expect([page.text(), page.chat.status, page.chat.error]).toEqual(['ab', 'ready', undefined])
})

test('a dead run ends as interrupted: the reason for those who know it, and an error for all', async () => {
  const { url, publish } = await startScripted('chat', async ({ idempotencyKey = '' }) => {
    await publish(...opening('r', idempotencyKey), delta('a'), { type: 'run.ended', run: 'r', reason: 'interrupted' })
    return { run: 'r', state: 'running', after: 0, head: 0, epoch: '' }
  })
  const page = openPage(url)
  await page.chat.sendMessage({ text: 'go' })
  expect(page.text()).toBe('a')
  expect(page.chat.error).toMatchObject({ code: 'run-interrupted' })
  expect(page.finishes).toEqual([{ isAbort: false, isError: true, finishReason: 'interrupted' }])
})

test('a stop sends nothing by itself afterwards, even where every tool call is complete', async () => {
  const server = await startChatServer({
    answer: () =>
      paced(
        [
          { type: 'start' },
          { type: 'start-step' },
          { type: 'tool-input-available', toolCallId: 'c', toolName: 'x', input: {} },
          { type: 'tool-output-available', toolCallId: 'c', output: 1 },
          { type: 'finish-step' },
        ],
        (at) => (at === 5 ? gate().opened : undefined),
      ),
  })
  const sendAutomaticallyWhen = vi.fn(() => true)
  const page = openPage(server.url, { sendAutomaticallyWhen })
  const sending = page.chat.sendMessage({ text: 'go' })
  await when(() => page.chat.messages.length === 2, 'it reads')
  page.transport.stop('chat')
  await sending
  expect(page.chat.status).toBe('ready')
  expect(sendAutomaticallyWhen).not.toHaveBeenCalled()
})

test('a message larger than the server takes is refused before it is sent, and says what to do', async () => {
  const server = await startChatServer({ answer: () => paced(saying('a')) })
  const page = openPage(server.url)
  const url = `data:image/png;base64,${'A'.repeat(300_000)}`
  await page.chat.sendMessage({ files: [{ type: 'file', mediaType: 'image/png', url }] })
  expect(page.chat.error).toMatchObject({ code: 'invalid-message' })
  expect(page.chat.error?.message).toMatch(/300\d{3} bytes.*262144 \(limits\.bodyBytes\).*prepareSendMessagesRequest/)
  expect(server.contexts).toEqual([])
  const larger = openPage(server.url, { id: 'two', maxBytes: 1_000 })
  await larger.chat.sendMessage({ text: 'x'.repeat(1_000) })
  expect(larger.chat.error).toMatchObject({ code: 'invalid-message' })
})

test('files are uploaded first, and their URLs sent: the recipe of docs/ai-sdk.md', async () => {
  const server = await startChatServer({ answer: () => paced(saying('a')) })
  const upload = async (part: { readonly url: string }) => `https://files.example/${part.url.length}`
  const page = openPage(server.url, {
    async prepareSendMessagesRequest({ id, messages, trigger, messageId }) {
      const withUrls = messages.map(async (message) => ({
        ...message,
        parts: await Promise.all(
          message.parts.map(async (part) =>
            part.type === 'file' && part.url.startsWith('data:') ? { ...part, url: await upload(part) } : part,
          ),
        ),
      }))
      return { body: { id, messages: await Promise.all(withUrls), trigger, messageId } }
    },
  })
  const url = `data:image/png;base64,${'A'.repeat(300_000)}`
  await page.chat.sendMessage({ text: 'look', files: [{ type: 'file', mediaType: 'image/png', url }] })
  expect(server.contexts[0]?.messages[0]?.parts[0]).toMatchObject({ url: `https://files.example/${url.length}` })
  expect(page.text()).toBe('a')
})

test('a body of its own, headers of one message, and metadata reach the server; those of the connection do not', async () => {
  const server = await startChatServer({ answer: () => paced(saying('a')) })
  const page = openPage(server.url, {
    prepareSendMessagesRequest: ({ messages, requestMetadata, body, headers }) => ({
      body: { message: messages.at(-1), requestMetadata, ...body },
      headers: { ...headers, 'x-more': '1' },
    }),
  })
  await page.chat.sendMessage(
    { text: 'go' },
    { headers: { 'X-Model': 'large', Cookie: 'a=b', Host: 'evil' }, body: { temperature: 1 }, metadata: { n: 1 } },
  )
  const [context] = server.contexts
  expect(context?.body).toMatchObject({ temperature: 1, requestMetadata: { n: 1 }, message: { role: 'user' } })
  expect(context?.messages).toEqual([context?.body.message])
  expect(Object.fromEntries(context?.headers ?? [])).toEqual({ 'x-model': 'large', 'x-more': '1' })
  const plain = openPage(server.url, { id: 'two' })
  await plain.chat.sendMessage({ text: 'go' }, { body: { extra: true } })
  expect(server.contexts[1]?.body).toMatchObject({ id: 'two', extra: true, trigger: 'submit-message' })
})

test('any chat id has a session of its own', async () => {
  for (const id of ['chat', 'a_b-C9', 'x'.repeat(128)]) expect(sessionIdOf(id)).toBe(id)
  const foreign = ['org:1/chat.2', '', 'b64_', 'b64_b3Jn', '9+9', 'ü', '???>>>', 'org 1']
  const sessions = foreign.map(sessionIdOf)
  expect(new Set(sessions).size).toBe(foreign.length)
  for (const session of sessions) expect(session).toMatch(/^[A-Za-z0-9_-]{1,128}$/)
  expect(sessions.map(chatIdOf)).toEqual(foreign)
  expect(() => sessionIdOf('ü'.repeat(50))).toThrow(expect.objectContaining({ code: 'invalid-option' }))
  // Another spelling of it is another chat's: nobody is let in by it.
  for (const odd of ['b64_Y2hhdA', 'b64_', 'b64_A', 'b64_____']) expect([odd, '']).toContain(chatIdOf(odd))
  const server = await startChatServer({ answer: () => paced(saying('a')) })
  const page = openPage(server.url, { id: 'org:1/chat.2' })
  const other = openPage(server.url, { id: 'org:1/chat.2', follows: true })
  await when(() => other.connection.cursors.length === 1, 'it follows')
  await page.chat.sendMessage({ text: 'go' })
  expect(server.contexts[0]).toMatchObject({ chatId: 'org:1/chat.2', sessionId: sessionIdOf('org:1/chat.2') })
  await when(() => other.text() === 'a', 'the other has it')
})

test('a line that stops for good is an error of the chats that wait for it', async () => {
  const http = await listen(() => Response.json({ error: 'forbidden' }, { status: 403 }))
  onTestFinished(http.close)
  const page = openPage(http.url)
  page.connection.on('stopped', () => {})
  await page.chat.sendMessage({ text: 'go' })
  expect(page.chat.error).toMatchObject({ code: 'forbidden' })
  // It waits for the next connect().
  expect(page.transport.pending('chat')).toMatchObject([{ role: 'user' }])
})

test('a server whose receipts name no run is told apart', async () => {
  const { url } = await startScripted('chat', () => ({ ok: true }))
  const page = openPage(url)
  await page.chat.sendMessage({ text: 'go' })
  expect(page.chat.error?.message).toMatch(/uiMessageRuns/)
})

test('a log that was lost in the middle of an answer ends it; the next prompt is answered', async () => {
  const first = await startChatServer({
    answer: () => paced(saying('a', 'b'), (at) => (at === 4 ? gate().opened : undefined)),
  })
  const second = await startChatServer({ answer: () => paced(saying('c')) })
  let { url } = first
  const page = openPage(url, {
    connection: { fetch: (input, init) => fetch(String(input).replace(first.url, url), init) },
  })
  const sending = page.chat.sendMessage({ text: 'go' })
  await when(() => page.text() === 'a', 'it reads')
  url = second.url
  first.destroySockets()
  await sending
  expect(page.chat.error).toMatchObject({ code: 'run-interrupted' })
  await page.chat.sendMessage({ text: 'again' })
  expect([page.text(), page.chat.status]).toEqual(['c', 'ready'])
})

test('who reads and follows no more costs nothing: the session is left', async () => {
  const server = await startChatServer({ answer: () => paced(saying('a')) })
  const page = openPage(server.url)
  await page.chat.sendMessage({ text: 'go' })
  await when(() => page.connection.cursors.length === 0, 'it is left')
  await page.chat.sendMessage({ text: 'again' })
  expect([page.text(), page.texts().length]).toEqual(['a', 4])
  const followed = openPage(server.url, { follows: true })
  await when(() => followed.connection.cursors.length === 1, 'it follows')
})

test('an option that does not fit is named', () => {
  const connection = createConnection({ url: 'http://127.0.0.1:9/' })
  onTestFinished(connection.dispose)
  for (const [options, message] of [
    [{ onAbort: 'ignore' }, /onAbort/],
    [{ prepareSendMessagesRequest: {} }, /prepareSendMessagesRequest/],
    [{ maxBytes: 0 }, /maxBytes/],
    [{ api: '/api/chat' }, /: api is no option/],
  ] as const) {
    expect(() => createChatTransport(connection, options as never)).toThrow(
      expect.objectContaining({ code: 'invalid-option', message: expect.stringMatching(message) }),
    )
  }
  expect(() => uiMessageRuns({} as never)).toThrow(/'runs'/)
  expect(() => uiMessageRuns({ runs: {}, upstream: '/api/chat' } as never)).toThrow(/'upstream'/)
  expect(() => uiMessageRuns({ runs: {}, stream: 1 } as never)).toThrow(/'stream'/)
})

test('requests that are none of a chat are rejected for good', async () => {
  const server = createChatServer({
    authenticate: () => null,
    authorize: () => false,
    onCommand: () => {},
    allowedHosts: 'any',
  })
  onTestFinished(() => server.close())
  const onCommand = uiMessageRuns({ runs: createRuns({ server }), stream: () => paced([]) })
  const call = (message: Record<string, unknown>, sessionId?: string) =>
    onCommand({
      type: 'send',
      sessionId,
      message,
      principal: { id: 'a' },
      connectionId: '',
      idempotencyKey: 'k',
      publish: server.publish,
    })
  const request = { messages: [user('u')] }
  const send = { trigger: 'submit-message', request }
  await expect(call(send)).rejects.toMatchObject({ status: 400, code: 'bad-request' })
  for (const bad of [
    {},
    { ...send, trigger: 'other' },
    { ...send, request: 'text' },
    { ...send, request: { messages: 'text' } },
    { ...send, headers: 'text' },
    { ...send, headers: { a: 1 } },
    { ...send, headers: { 'no name': 'x' } },
  ]) {
    await expect(call(bad, 'chat')).rejects.toMatchObject({ status: 400, code: 'bad-request' })
  }
  await expect(
    onCommand({
      type: 'rate',
      sessionId: 'chat',
      message: {},
      principal: { id: 'a' },
      connectionId: '',
      idempotencyKey: 'k',
      publish: server.publish,
    }),
  ).rejects.toMatchObject({ status: 400, code: 'unknown-type' })
})

test('an answer to a run that has ended begins no other one: it is rejected as `ended`', async () => {
  const asking: readonly UIMessageChunk[] = [
    { type: 'start' },
    { type: 'start-step' },
    { type: 'tool-input-available', toolCallId: 'c1', toolName: 'place', input: {} },
    { type: 'finish-step' },
    { type: 'finish' },
  ]
  const server = await startChatServer({
    answer: ({ messages }) => paced(messages.at(-1)?.role === 'user' ? asking : saying('done')),
  })
  const page = openPage(server.url)
  await page.chat.sendMessage({ text: 'go' })
  await page.chat.addToolOutput({ tool: 'place', toolCallId: 'c1', output: 'Bonn' })
  const sent: Delivery['message'][] = []
  page.connection.on('delivery', ({ message, status }) => status === 'queued' && sent.push(message))
  await page.chat.sendMessage()
  await when(() => page.chat.status === 'ready' && page.text().endsWith('done'), 'the answer')
  const answer = sent.find(({ answers }) => answers !== undefined)
  // As after a crash that has lost the receipt.
  const verdict = await page.connection.send({ ...answer, type: 'send' }).settled
  expect(verdict).toMatchObject({ status: 'rejected', error: { status: 409 } })
  expect(server.contexts).toHaveLength(2)
})

test('who may write and not read is told so, and does not wait for ever', async () => {
  const server = await startChatServer({
    answer: () => paced(saying('a')),
    authorize: (_user, _session, action) => action === 'write',
  })
  const page = openPage(server.url)
  await page.chat.sendMessage({ text: 'go' })
  expect([page.chat.status, page.chat.error]).toMatchObject(['error', { code: 'run-interrupted' }])
})

test('two transports of one connection do not end what the other one follows', async () => {
  const server = await startChatServer({ answer: () => paced(saying('a')) })
  const page = openPage(server.url, { follows: true })
  const transport = createChatTransport(page.connection)
  const unfollow = followChat(new Chat<UIMessage>({ id: 'chat', transport }), transport)
  await when(() => page.connection.cursors.length === 1, 'both follow')
  unfollow()
  await openPage(server.url).chat.sendMessage({ text: 'go' })
  await when(() => page.text() === 'a' && page.chat.status === 'ready', 'the other one still does')
})

test('a run that is stopped before its first event ends its answer as stopped, even where the receipt comes later', async () => {
  const heard = gate()
  const { url, publish } = await startScripted('chat', async () => {
    await publish({ type: 'run.started', run: 'r' }, { type: 'run.ended', run: 'r', reason: 'stopped' })
    await heard.opened
    return { run: 'r', state: 'running', after: 0, head: 2, epoch: '' }
  })
  const page = openPage(url)
  page.connection.watch('chat')
  const sending = page.chat.sendMessage({ text: 'go' })
  await when(() => page.connection.cursor('chat')?.lastSeq === 2, 'all has come')
  heard.open()
  await sending
  expect([page.chat.status, page.chat.error, page.finishes[0]?.isAbort]).toEqual(['ready', undefined, true])
})

test('an answer that has come whole is read to its end, even where the receipt says that its run is over', async () => {
  const heard = gate()
  const { url, publish } = await startScripted('chat', async ({ idempotencyKey = '' }) => {
    await publish(...opening('r', idempotencyKey), delta('a'), { type: 'run.ended', run: 'r', reason: 'finished' })
    await publish({ type: 'run.started', run: 'next' })
    await heard.opened
    return { run: 'r', state: 'ended', after: 6, head: 7, epoch: '' }
  })
  const { transport, connection } = openPage(url)
  connection.watch('chat')
  const settled = new Promise((resolve) =>
    connection.on('delivery', ({ status }) => status === 'accepted' && resolve(0)),
  )
  const stream = await transport.sendMessages({
    chatId: 'chat',
    trigger: 'submit-message',
    messageId: undefined,
    messages: [user('u')],
    abortSignal: undefined,
  })
  await when(() => connection.cursor('chat')?.lastSeq === 7, 'all has come')
  heard.open()
  await settled
  const chunks: unknown[] = []
  for await (const { type } of stream) chunks.push(type)
  expect(chunks).toEqual(['start', 'text-start', 'text-delta'])
})

test('a resume that is given up while the server is asked leaves the session', async () => {
  const asked = gate()
  const { url } = await startScripted('chat', async () => {
    await asked.opened
    return { run: 'r', state: 'running', after: 0, head: 0, epoch: '' }
  })
  const page = openPage(url)
  const settled = new Promise((resolve) =>
    page.connection.on('delivery', ({ status }) => status === 'accepted' && resolve(0)),
  )
  const controller = new AbortController()
  const resuming = page.transport.reconnectToStream({ chatId: 'chat', abortSignal: controller.signal })
  await when(() => page.connection.pending[0]?.attempts, 'it is asked')
  controller.abort(new Error('unmounted'))
  await expect(resuming).rejects.toThrow('unmounted')
  asked.open()
  await settled
  await when(() => page.connection.cursors.length === 0, 'it is left')
})
