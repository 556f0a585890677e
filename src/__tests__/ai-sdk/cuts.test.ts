import { Chat } from '@ai-sdk/react'
import {
  lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
  type UIMessage,
  type UIMessageChunk,
} from 'ai'
import { persist } from 'holdline/storage'
import { describe, expect, test } from 'vitest'
import { memoryLog, type SessionLog } from '../../server'
import { cutters } from '../support/cutter'
import { describeWithRedis } from '../support/redis'
import { redisLogs } from '../support/redisLogs'
import { createStorage } from '../support/storage'
import {
  type Answer,
  type ChatServerSetup,
  gate,
  openPage,
  type PageSetup,
  paced,
  saying,
  startChatServer,
  when,
  words,
} from './chatWorld'

// Each story of scenarios.test.ts with its sockets cut at seeded moments: between the chunks of an
// answer, before a POST arrives, and before its answer is read. The truth at the end is that of a
// line that never drops.

const SEEDS = [1, 2]

describe('useChat on a line that is cut, the log in memory', () => {
  describe.each(SEEDS)('(seed %i)', (seed) => stories(() => memoryLog(), seed))
})

describeWithRedis('useChat on a line that is cut, the log in Redis', () => {
  const createLog = redisLogs()
  describe.each(SEEDS)('(seed %i)', (seed) => stories(createLog, seed))
})

function stories(createLog: () => SessionLog, seed: number) {
  const cutter = cutters(seed)

  const start = async (answer: Answer, settings: ChatServerSetup = {}) => {
    const server = await startChatServer({ log: createLog(), answer, ...settings })
    cutter().cuts(server)
    const open = ({ connection, ...setup }: PageSetup = {}) =>
      openPage(server.url, { ...setup, connection: { fetch: cutter().fetch, ...connection } })
    return { server, open }
  }
  /** An answer that stops after its first delta until the test goes on. */
  const held = (chunks: readonly UIMessageChunk[], opened: Promise<void>) =>
    paced(chunks, async (at) => {
      await cutter().shake()
      if (at === 4) await opened
    })
  const never = gate().opened

  test('an answer is whole, its chat says submitted, streaming, ready, and the model was asked once', async () => {
    const deltas = words(40)
    const { server, open } = await start(() => paced(saying(...deltas), cutter().shake))
    const page = open()
    await page.chat.sendMessage({ text: 'go' })
    expect(page.texts()).toEqual(['user:go', `assistant:${deltas.join('')}`])
    expect(page.statuses).toEqual(['submitted', 'streaming', 'ready'])
    expect(server.contexts).toHaveLength(1)
  })

  test('a stop ends the run for everybody, and the producer is told', async () => {
    let told = false
    const { server, open } = await start(({ signal }) => {
      signal.addEventListener('abort', () => {
        told = true
      })
      return held(saying('a', 'b'), never)
    })
    const [page, other] = [open(), open({ follows: true })]
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a' && other.text() === 'a', 'both read')
    expect((await page.transport.stop('chat').settled).status).toBe('accepted')
    await sending
    await when(() => told && other.chat.status === 'ready', 'all ended')
    for (const { text, chat } of [page, other]) expect([text(), chat.status]).toEqual(['a', 'ready'])
    expect(page.finishes).toMatchObject([{ isAbort: true, isError: false }])
    expect((await server.runs.active('chat')).run).toBeNull()
  })

  test('a stop from a second client ends the first one', async () => {
    const { open } = await start(() => held(saying('a', 'b'), never))
    const [page, other] = [open(), open()]
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    other.transport.stop('chat')
    await sending
    expect([page.text(), page.statuses]).toEqual(['a', ['submitted', 'streaming', 'ready']])
  })

  test('a stop while offline ends the run when the line is back', async () => {
    const { server, open } = await start(() => held(saying('a', 'b'), never))
    const page = open()
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    page.connection.disconnect()
    const delivery = page.transport.stop('chat')
    await sending
    expect([page.chat.status, delivery.status]).toEqual(['ready', 'queued'])
    page.connection.connect()
    expect((await delivery.settled).status).toBe('accepted')
    expect((await server.runs.active('chat')).run).toBeNull()
  })

  test('a prompt that is stopped before it was posted is never posted', async () => {
    const { server, open } = await start(() => paced(saying('a'), cutter().shake))
    const page = open({ isOffline: true })
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.chat.status === 'submitted', 'submitted')
    page.transport.stop('chat')
    await sending
    page.connection.connect()
    await when(() => page.connection.isOpen && page.connection.pending.length === 0, 'the line is through')
    expect([page.chat.status, server.contexts]).toEqual(['ready', []])
  })

  test('a second client follows: the prompt, and the answer from its begin; one that comes in the middle too', async () => {
    const half = gate()
    const { open } = await start(() => held(saying('a', 'b', 'c'), half.opened))
    const [page, early] = [open(), open({ follows: true })]
    await when(() => early.connection.isOpen, 'open')
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => early.text() === 'a', 'it follows')
    const late = open({ follows: true })
    await when(() => late.text() === 'a', 'it follows too')
    half.open()
    await sending
    for (const other of [early, late]) {
      await when(() => other.text() === 'abc' && other.chat.status === 'ready', 'its end')
      expect(other.chat.messages).toEqual(page.chat.messages)
      expect(other.statuses).toEqual(['submitted', 'streaming', 'ready'])
    }
  })

  test('a page that is reloaded in the middle resumes from the first event; a finished chat is not replayed', async () => {
    const half = gate()
    const { open } = await start(() => held(saying('a', 'b', 'c'), half.opened))
    const page = open()
    void page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    const history = page.chat.messages.slice(0, 1)
    page.close()
    const reloaded = open({ messages: history })
    const resuming = reloaded.chat.resumeStream()
    await when(() => reloaded.text() === 'a', 'it reads again')
    half.open()
    await resuming
    expect(reloaded.texts()).toEqual(['user:go', 'assistant:abc'])
    expect(reloaded.statuses).toEqual(['submitted', 'streaming', 'ready'])
    expect(await open().transport.reconnectToStream({ chatId: 'chat' })).toBeNull()
  })

  test('an offline prompt and a reload are one run', async () => {
    const storage = persist(createStorage(), { key: 'page' })
    const { server, open } = await start(() => paced(saying('a', 'b'), cutter().shake))
    const offline = open({ isOffline: true, connection: { storage } })
    void offline.chat.sendMessage({ text: 'go' })
    await when(() => offline.transport.pending('chat').length === 1, 'it waits')
    offline.close()
    const reloaded = open({ isOffline: true, connection: { storage } })
    reloaded.chat.messages = [...reloaded.transport.pending('chat')]
    const resuming = reloaded.chat.resumeStream()
    reloaded.connection.connect()
    await resuming
    await when(() => reloaded.text() === 'ab' && reloaded.chat.status === 'ready', 'its answer')
    expect(reloaded.texts()).toEqual(['user:go', 'assistant:ab'])
    expect(server.contexts).toHaveLength(1)
  })

  test('StrictMode: a reconnect, its abort and another reconnect leave the run as it is', async () => {
    const half = gate()
    const { server, open } = await start(() => held(saying('a', 'b'), half.opened))
    const page = open()
    void page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    page.close()
    const strict = open({ onAbort: 'stop' })
    void strict.chat.resumeStream()
    await strict.chat.stop()
    const resuming = strict.chat.resumeStream()
    await when(() => strict.text() === 'a', 'it reads')
    expect((await server.runs.active('chat')).run?.state).toBe('running')
    half.open()
    await resuming
    expect([strict.text(), server.contexts.length]).toEqual(['ab', 1])
  })

  test('an abort detaches: the run goes on, and a resume has all of it', async () => {
    const half = gate()
    const { open } = await start(() => held(saying('a', 'b', 'c'), half.opened))
    const page = open()
    void page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    await page.chat.stop()
    const resuming = page.chat.resumeStream()
    await when(() => page.chat.status === 'streaming', 'it reads again')
    half.open()
    await resuming
    expect(page.texts()).toEqual(['user:go', 'assistant:abc'])
  })

  test("onAbort 'stop': the abort ends the run", async () => {
    const { server, open } = await start(() => held(saying('a', 'b'), never))
    const page = open({ onAbort: 'stop' })
    void page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    await page.chat.stop()
    await expect.poll(async () => (await server.runs.active('chat')).run).toBeNull()
  })

  test.each([
    ['reject', ['to one: done', ''], ['ready', 'error']],
    ['queue', ['to one: done', 'to two: done'], ['ready', 'ready']],
    ['interrupt', ['to one: ', 'to two: done'], ['ready', 'ready']],
  ] as const)('two prompts at once, %s', async (onBusy, texts, statuses) => {
    const half = gate()
    const said = (messages: readonly UIMessage[]) => JSON.stringify(messages.at(-1)?.parts).match(/one|two/)?.[0]
    const { server, open } = await start(
      ({ messages }) =>
        held(saying(`to ${said(messages)}: `, 'done'), said(messages) === 'one' ? half.opened : Promise.resolve()),
      { onBusy },
    )
    const [first, second] = [open(), open()]
    const one = first.chat.sendMessage({ text: 'one' })
    await when(() => first.text() === 'to one: ', 'it reads')
    const two = second.chat.sendMessage({ text: 'two' })
    if (onBusy === 'queue') await expect.poll(async () => (await server.runs.active('chat')).queued).toHaveLength(1)
    else await two
    half.open()
    await Promise.all([one, two])
    expect([first.text(), second.text()]).toEqual(texts)
    expect([first.chat.status, second.chat.status]).toEqual(statuses)
    expect(server.contexts).toHaveLength(onBusy === 'reject' ? 1 : 2)
  })

  test('a model stream that throws is an error of the chat, which keeps what came; the next prompt is answered', async () => {
    const { server, open } = await start(() => {
      const isFirst = server.contexts.length === 1
      return paced(saying('a', 'b'), async (at) => {
        await cutter().shake()
        if (isFirst && at === 4) throw new Error('secret')
      })
    })
    const page = open()
    await page.chat.sendMessage({ text: 'go' })
    expect([page.text(), page.chat.status, page.chat.error]).toMatchObject(['a', 'error', { code: 'run-failed' }])
    await page.chat.sendMessage({ text: 'again' })
    expect([page.text(), page.chat.status]).toEqual(['ab', 'ready'])
  })

  test('reasoning, tools, files, sources and data parts are those of a chat that nothing happens to', async () => {
    const chunks: readonly UIMessageChunk[] = [
      { type: 'start', messageId: 'm1', messageMetadata: { model: 'x' } },
      { type: 'start-step' },
      { type: 'reasoning-start', id: 'r' },
      { type: 'reasoning-delta', id: 'r', delta: 'think' },
      { type: 'reasoning-delta', id: 'r', delta: 'ing' },
      { type: 'reasoning-end', id: 'r', providerMetadata: { p: { signature: 'abc' } } },
      { type: 'tool-input-start', toolCallId: 'c1', toolName: 'weather' },
      { type: 'tool-input-delta', toolCallId: 'c1', inputTextDelta: '{"city":' },
      { type: 'tool-input-delta', toolCallId: 'c1', inputTextDelta: '"Bonn"}' },
      { type: 'tool-input-available', toolCallId: 'c1', toolName: 'weather', input: { city: 'Bonn' } },
      { type: 'tool-output-available', toolCallId: 'c1', output: { degrees: 21 } },
      { type: 'file', url: 'data:image/png;base64,iVBORw0KGgo=', mediaType: 'image/png' },
      { type: 'source-url', sourceId: 's1', url: 'https://example.com/', title: 'there' },
      { type: 'data-card', id: 'd1', data: { n: 1 } },
      { type: 'data-card', id: 'd1', data: { n: 2 } },
      ...saying('21 °C', ' 🌤').slice(2),
    ]
    const undisturbed = new Chat<UIMessage>({
      transport: { sendMessages: async () => paced(chunks), reconnectToStream: async () => null },
    })
    await undisturbed.sendMessage({ text: 'go' })
    const { open } = await start(() => paced(chunks, cutter().shake))
    const [page, other] = [open(), open({ follows: true })]
    await when(() => other.connection.cursors.length === 1, 'it follows')
    await page.chat.sendMessage({ text: 'go' })
    await when(() => other.chat.status === 'ready' && other.chat.messages.length === 2, 'the other has it')
    for (const { chat } of [page, other]) expect(chat.messages.slice(1)).toEqual(undisturbed.messages.slice(1))
  })

  const asking: readonly UIMessageChunk[] = [
    { type: 'start' },
    { type: 'start-step' },
    { type: 'tool-input-start', toolCallId: 'c1', toolName: 'place' },
    { type: 'tool-input-available', toolCallId: 'c1', toolName: 'place', input: {} },
    { type: 'finish-step' },
    { type: 'finish', finishReason: 'tool-calls' },
  ]
  const isPrompt = (messages: readonly UIMessage[]) => messages.at(-1)?.role === 'user'

  test('a tool of the client: its output goes on with the same run, for every page', async () => {
    const { server, open } = await start(({ messages }) =>
      paced(isPrompt(messages) ? asking : saying('You are ', 'in ', 'Bonn.'), cutter().shake),
    )
    const page = open({ sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls })
    const other = open({ follows: true })
    await page.chat.sendMessage({ text: 'where am I?' })
    await when(() => other.chat.status === 'ready' && other.chat.messages.length === 2, 'the other has the call')
    await page.chat.addToolOutput({ tool: 'place', toolCallId: 'c1', output: 'Bonn' })
    for (const { text, chat } of [page, other])
      await when(() => text() === 'You are in Bonn.' && chat.status === 'ready', 'the answer')
    expect(other.chat.messages).toEqual(page.chat.messages)
    expect(new Set(server.contexts.map(({ run }) => run)).size).toBe(1)
    expect([server.contexts.length, page.chat.messages.length]).toEqual([2, 2])
  })

  test('an approval that another page gives goes on with the same run', async () => {
    const { server, open } = await start(({ messages }) =>
      paced(
        isPrompt(messages)
          ? [
              ...asking.slice(0, -2),
              { type: 'tool-approval-request', approvalId: 'a1', toolCallId: 'c1' },
              ...asking.slice(-2),
            ]
          : [
              { type: 'start' },
              { type: 'tool-output-available', toolCallId: 'c1', output: 'Bonn' },
              ...saying('Done.').slice(1),
            ],
        cutter().shake,
      ),
    )
    const setup = { sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses, follows: true }
    const [page, other] = [open(setup), open(setup)]
    await page.chat.sendMessage({ text: 'where am I?' })
    await when(() => other.chat.status === 'ready' && other.chat.messages.length === 2, 'the other is asked')
    await other.chat.addToolApprovalResponse({ id: 'a1', approved: true })
    for (const { text, chat } of [page, other])
      await when(() => text() === 'Done.' && chat.status === 'ready', 'the answer')
    expect(server.contexts).toHaveLength(2)
  })
}
