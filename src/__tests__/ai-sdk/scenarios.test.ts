import type { UIMessage } from 'ai'
import { persist } from 'holdline/storage'
import { describe, expect, test } from 'vitest'
import { memoryLog, type SessionLog } from '../../server'
import { seededRandom } from '../../testing/harness/random'
import { describeWithRedis } from '../support/redis'
import { redisLogs } from '../support/redisLogs'
import { createStorage } from '../support/storage'
import { gate, openPage, paced, saying, startChatServer, when, words } from './chatWorld'

// The stories, and the complaints about `useChat` that they answer (issues of vercel/ai):
//  1 three sockets die in the middle of an answer    no reconnect after a drop (6633)
//  2 the same: one text part, nothing twice          parts doubled by a resume (14688, 18107)
//  3 stop ends the run, and resuming works beside it stop against resume (6502, 10719, 18458)
//  4 stop while offline                              the same
//  5 stop before the prompt was posted               the same
//  6 a second client follows                         the second tab is blind
//  7 a reload in the middle resumes from the begin   parts doubled by a resume
//  8 an offline prompt and reloads are one run       a prompt typed offline is lost
//  9 StrictMode mounts twice                         stop against resume
// 10 an abort detaches                               stop against resume
// 11 `onAbort: 'stop'`                               stop against resume
// The further ones here: a stop from a second client, two prompts at once under each `onBusy`, a
// model stream that throws. Elsewhere:
// - each of them with its sockets cut at seeded moments: cuts.test.ts;
// - processes that are killed or restarted: death.test.ts; a log that is lost: transport.test.ts;
// - 200 chats at once, 20,000 chunks: crowd.test.ts;
// - tools, reasoning, files, data parts, approvals: parts.test.ts.

describe('useChat over real HTTP, the log in memory', () => {
  scenarios(() => memoryLog())
  together(() => memoryLog())
})

describeWithRedis('useChat over real HTTP, the log in Redis', () => {
  const createLog = redisLogs()
  scenarios(createLog)
  together(createLog)

  test('the process that answers dies: within two leases the chat is told, has what came, and another process answers again', async () => {
    const log = createLog()
    const [doomed, other] = await Promise.all([
      startChatServer({
        log,
        lease: 1_000,
        answer: () => paced(saying('a', 'b'), (at) => (at === 4 ? gate().opened : undefined)),
      }),
      startChatServer({ log: createLog(), lease: 1_000, answer: () => paced(saying('c')) }),
    ])
    let url = doomed.url
    const page = openPage(url, {
      connection: { fetch: (input, init) => fetch(String(input).replace(doomed.url, url), init) },
    })
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    // As far as the others see: it says nothing any more.
    log.close()
    url = other.url
    doomed.destroySockets()
    await doomed.close()
    await sending
    expect(page.text()).toBe('a')
    expect(page.chat.error).toMatchObject({ code: 'run-interrupted' })
    expect(page.finishes).toEqual([{ isAbort: false, isError: true, finishReason: 'interrupted' }])

    // A page that is loaded now is told too, once, and keeps the messages of its store as they are.
    const messages = page.chat.messages.slice(0, 1)
    for (const follows of [true, false]) {
      const loaded = openPage(url, { messages, follows })
      if (!follows) await loaded.chat.resumeStream()
      await when(() => loaded.chat.status === 'error', 'it is told')
      expect(loaded.chat.error).toMatchObject({ code: 'run-interrupted' })
      expect(loaded.chat.messages).toEqual(messages)
      expect(await loaded.transport.reconnectToStream({ chatId: 'chat' })).toBeNull()
    }
    expect(await page.transport.reconnectToStream({ chatId: 'chat' })).toBeNull()

    await page.chat.regenerate()
    expect([page.text(), page.chat.status]).toEqual(['c', 'ready'])
    expect(await openPage(url).transport.reconnectToStream({ chatId: 'chat' })).toBeNull()
  })
})

function scenarios(createLog: () => SessionLog) {
  test('three sockets die in the middle of an answer: submitted, streaming, ready, and nothing else; one part, nothing lost', async () => {
    const random = seededRandom(7)
    const deltas = words(60)
    const kills = new Set([10, 25, 45])
    const server = await startChatServer({
      log: createLog(),
      answer: () =>
        paced(saying(...deltas), async (at) => {
          if (kills.has(at)) {
            await when(() => page.text().length > 0 && page.connection.isOpen, 'the page reads')
            server.destroySockets()
          }
          await new Promise((resolve) => setTimeout(resolve, 3 * random()))
        }),
    })
    const page = openPage(server.url)
    let closed = 0
    page.connection.on('closed', () => {
      closed += 1
    })
    await page.chat.sendMessage({ text: 'go' })
    expect(closed).toBeGreaterThanOrEqual(3)
    expect(page.text()).toBe(deltas.join(''))
    expect(page.statuses).toEqual(['submitted', 'streaming', 'ready'])
    expect(page.chat.messages.map(({ role }) => role)).toEqual(['user', 'assistant'])
    expect(server.contexts).toHaveLength(1)
  })

  test('stop ends the run for everybody, and the producer is told', async () => {
    let told = false
    const server = await startChatServer({
      log: createLog(),
      answer: ({ signal }) => {
        signal.addEventListener('abort', () => {
          told = true
        })
        return paced(saying('a', 'b'), (at) => (at === 4 ? gate().opened : undefined))
      },
    })
    const page = openPage(server.url)
    const other = openPage(server.url, { follows: true })
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a' && other.text() === 'a', 'both read')
    expect((await page.transport.stop('chat').settled).status).toBe('accepted')
    await sending
    await when(() => told && other.chat.status === 'ready', 'all ended')
    expect([page.text(), page.chat.status, page.finishes]).toEqual([
      'a',
      'ready',
      [{ isAbort: true, isError: false, finishReason: undefined }],
    ])
    expect((await server.runs.active('chat')).run).toBeNull()
  })

  test('a stop from a second client ends the first one', async () => {
    const server = await startChatServer({
      log: createLog(),
      answer: () => paced(saying('a', 'b'), (at) => (at === 4 ? gate().opened : undefined)),
    })
    const page = openPage(server.url)
    const other = openPage(server.url)
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    other.transport.stop('chat')
    await sending
    expect(page.statuses).toEqual(['submitted', 'streaming', 'ready'])
    expect(page.finishes[0]?.isAbort).toBe(true)
  })

  test('a stop while offline ends the answer here at once, and the run when the line is back', async () => {
    const server = await startChatServer({
      log: createLog(),
      answer: () => paced(saying('a', 'b'), (at) => (at === 4 ? gate().opened : undefined)),
    })
    const page = openPage(server.url)
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    page.connection.disconnect()
    const delivery = page.transport.stop('chat')
    await sending
    expect([page.chat.status, delivery.status]).toEqual(['ready', 'queued'])
    expect((await server.runs.active('chat')).run).not.toBeNull()
    page.connection.connect()
    expect((await delivery.settled).status).toBe('accepted')
    expect((await server.runs.active('chat')).run).toBeNull()
  })

  test('a prompt that is stopped before it was posted is never posted', async () => {
    const server = await startChatServer({ log: createLog(), answer: () => paced(saying('a')) })
    const page = openPage(server.url, { isOffline: true })
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.chat.status === 'submitted', 'submitted')
    page.transport.stop('chat')
    await sending
    expect([page.chat.status, page.finishes[0]?.isAbort, page.transport.pending('chat')]).toEqual(['ready', true, []])
    page.connection.connect()
    await when(() => page.connection.isOpen && page.connection.pending.length === 0, 'the line is through')
    expect(server.contexts).toEqual([])
  })

  test('a second client follows: what the user said, and the answer from its begin', async () => {
    const half = gate()
    const server = await startChatServer({
      log: createLog(),
      answer: () => paced(saying('a', 'b', 'c'), (at) => (at === 4 ? half.opened : undefined)),
    })
    const [page, early] = [openPage(server.url), openPage(server.url, { follows: true })]
    await when(() => early.connection.isOpen, 'open')
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => early.text() === 'a', 'it follows')
    const late = openPage(server.url, { follows: true })
    await when(() => late.text() === 'a', 'it follows too')
    half.open()
    await sending
    for (const other of [early, late]) {
      await when(() => other.chat.status === 'ready', 'its end')
      expect(other.texts()).toEqual(['user:go', 'assistant:abc'])
      expect(other.statuses).toEqual(['submitted', 'streaming', 'ready'])
      expect(other.chat.messages).toEqual(page.chat.messages)
    }
    const again = openPage(server.url, { follows: true })
    await when(() => again.connection.isOpen && again.connection.pending.length === 0, 'it has asked')
    expect(again.texts()).toEqual([])
  })

  test('a page that is reloaded in the middle resumes from the first event, with resume alone; a finished chat is not replayed', async () => {
    const half = gate()
    const server = await startChatServer({
      log: createLog(),
      answer: () => paced(saying('a', 'b', 'c'), (at) => (at === 4 ? half.opened : undefined)),
    })
    const page = openPage(server.url)
    void page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    const history = page.chat.messages.slice(0, 1)
    page.close()
    const reloaded = openPage(server.url, { messages: history })
    const resuming = reloaded.chat.resumeStream()
    await when(() => reloaded.text() === 'a', 'it reads again')
    half.open()
    await resuming
    expect(reloaded.texts()).toEqual(['user:go', 'assistant:abc'])
    expect(reloaded.statuses).toEqual(['submitted', 'streaming', 'ready'])
    expect(await reloaded.transport.reconnectToStream({ chatId: 'chat' })).toBeNull()
    expect(await openPage(server.url).transport.reconnectToStream({ chatId: 'chat' })).toBeNull()
  })

  test('an offline prompt and two reloads are one run, and the page shows what waits', async () => {
    const storage = persist(createStorage(), { key: 'page' })
    const server = await startChatServer({ log: createLog(), answer: () => paced(saying('a', 'b')) })
    const offline = openPage(server.url, { isOffline: true, connection: { storage } })
    void offline.chat.sendMessage({ text: 'go' })
    await when(() => offline.transport.pending('chat').length === 1, 'it waits')
    offline.close()
    const second = openPage(server.url, { isOffline: true, connection: { storage } })
    void second.chat.resumeStream()
    second.close()
    const third = openPage(server.url, { isOffline: true, connection: { storage } })
    third.chat.messages = [...third.transport.pending('chat')]
    expect(third.texts()).toEqual(['user:go'])
    const resuming = third.chat.resumeStream()
    // What the earlier pages asked is asked no more.
    const asked = third.connection.pending.filter(({ message }) => message.trigger === 'resume-stream')
    expect(asked).toHaveLength(1)
    third.connection.connect()
    await resuming
    await when(() => third.text() === 'ab' && third.chat.status === 'ready', 'its answer')
    expect(third.texts()).toEqual(['user:go', 'assistant:ab'])
    expect(server.contexts).toHaveLength(1)
    expect(third.transport.pending('chat')).toEqual([])
  })

  test('StrictMode: a reconnect, its abort and another reconnect leave the run as it is', async () => {
    const half = gate()
    const server = await startChatServer({
      log: createLog(),
      answer: () => paced(saying('a', 'b'), (at) => (at === 4 ? half.opened : undefined)),
    })
    const page = openPage(server.url)
    void page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    page.close()
    for (const onAbort of ['detach', 'stop'] as const) {
      const strict = openPage(server.url, { onAbort })
      void strict.chat.resumeStream()
      await strict.chat.stop()
      const resuming = strict.chat.resumeStream()
      await when(() => strict.text() === 'a', 'it reads')
      expect((await server.runs.active('chat')).run?.state).toBe('running')
      strict.close()
      void resuming
    }
    half.open()
  })

  test('an abort detaches: the run goes on, nobody brings it back unasked, and a resume has all of it', async () => {
    const half = gate()
    const server = await startChatServer({
      log: createLog(),
      answer: () => paced(saying('a', 'b', 'c'), (at) => (at === 4 ? half.opened : undefined)),
    })
    const page = openPage(server.url, { follows: true })
    void page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    await page.chat.stop()
    expect(page.chat.status).toBe('ready')
    const resuming = page.chat.resumeStream()
    half.open()
    await resuming
    expect(page.texts()).toEqual(['user:go', 'assistant:abc'])
  })

  test("onAbort 'stop': the abort ends the run", async () => {
    const server = await startChatServer({
      log: createLog(),
      answer: () => paced(saying('a', 'b'), (at) => (at === 4 ? gate().opened : undefined)),
    })
    const page = openPage(server.url, { onAbort: 'stop' })
    void page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    await page.chat.stop()
    await expect.poll(async () => (await server.runs.active('chat')).run).toBeNull()
  })

  test('a model stream that throws is an error of the chat, and the next prompt is answered', async () => {
    let count = 0
    const server = await startChatServer({
      log: createLog(),
      answer: () =>
        paced(saying('a', 'b'), (at) => {
          if (count === 0 && at === 4) {
            count += 1
            throw new Error('secret')
          }
        }),
    })
    const page = openPage(server.url)
    await page.chat.sendMessage({ text: 'go' })
    expect([page.chat.status, page.chat.error?.message]).toEqual(['error', expect.not.stringContaining('secret')])
    expect(page.chat.error).toMatchObject({ code: 'run-failed' })
    expect(page.text()).toBe('a')
    await page.chat.sendMessage({ text: 'again' })
    expect([page.text(), page.chat.status]).toEqual(['ab', 'ready'])
  })
}

function together(createLog: () => SessionLog) {
  const both = async (onBusy: 'reject' | 'queue' | 'interrupt') => {
    const half = gate()
    const server = await startChatServer({
      log: createLog(),
      onBusy,
      answer: ({ messages }) =>
        paced(saying(`to ${said(messages)}: `, 'done'), (at) =>
          at === 4 && said(messages) === 'one' ? half.opened : undefined,
        ),
    })
    const [first, second] = [openPage(server.url), openPage(server.url)]
    const one = first.chat.sendMessage({ text: 'one' })
    await when(() => first.text() === 'to one: ', 'it reads')
    const two = second.chat.sendMessage({ text: 'two' })
    return { server, first, second, one, two, half }
  }
  const said = (messages: readonly UIMessage[]) =>
    messages
      .at(-1)
      ?.parts.map((part) => (part.type === 'text' ? part.text : ''))
      .join('')

  test('reject: the second one is an error of its chat, and the first goes on', async () => {
    const { first, second, one, two, half } = await both('reject')
    await two
    expect([second.chat.status, second.chat.error]).toMatchObject(['error', { status: 409 }])
    half.open()
    await one
    expect([first.text(), first.chat.status]).toEqual(['to one: done', 'ready'])
  })

  test('queue: the second one is answered after the first', async () => {
    const { first, second, one, two, half } = await both('queue')
    await when(() => second.chat.status === 'submitted', 'it waits')
    half.open()
    await Promise.all([one, two])
    expect([first.text(), second.text()]).toEqual(['to one: done', 'to two: done'])
  })

  test('queue: one that is stopped while it waits ends its chat too', async () => {
    const { server, second, two } = await both('queue')
    await expect.poll(async () => (await server.runs.active('chat')).queued.length).toBe(1)
    const { queued } = await server.runs.active('chat')
    await server.runs.stop('chat', queued[0])
    await two
    expect([second.chat.status, second.finishes[0]?.isAbort]).toEqual(['ready', true])
  })

  test('interrupt: the second one ends the first, which keeps what it has', async () => {
    const { first, second, one, two } = await both('interrupt')
    await Promise.all([one, two])
    expect([first.text(), second.text()]).toEqual(['to one: ', 'to two: done'])
    expect(first.finishes[0]?.isAbort).toBe(true)
  })
}
