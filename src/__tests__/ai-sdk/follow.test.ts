import { expect, onTestFinished, test } from 'vitest'
import { followChat } from '../../ai-sdk'
import { persist } from '../../storage'
import { createStorage } from '../support/storage'
import { gate, openPage, paced, saying, startChatServer, when } from './chatWorld'

const echo = () => {
  let count = 0
  return () => {
    count += 1
    return paced(saying(`answer ${count}`))
  }
}

test('turns that began and ended while the follower was offline are shown in their order, each once', async () => {
  const server = await startChatServer({ answer: echo() })
  const page = openPage(server.url)
  const other = openPage(server.url, { follows: true })
  await when(() => other.connection.cursors.length === 1, 'it follows')
  other.connection.disconnect()
  for (const text of ['one', 'two', 'three']) await page.chat.sendMessage({ text })
  other.connection.connect()
  await when(() => other.chat.messages.length === 6 && other.chat.status === 'ready', 'it has all')
  expect(other.texts()).toEqual(page.texts())
})

test('a regenerated answer replaces the old one, and an edited prompt what came after it, everywhere', async () => {
  const server = await startChatServer({ answer: echo() })
  const page = openPage(server.url)
  const other = openPage(server.url, { follows: true })
  await when(() => other.connection.cursors.length === 1, 'it follows')
  await page.chat.sendMessage({ text: 'one' })
  await page.chat.sendMessage({ text: 'two' })
  await page.chat.regenerate()
  await when(() => other.text() === 'answer 3' && other.chat.status === 'ready', 'the new one')
  expect(other.texts()).toEqual(['user:one', 'assistant:answer 1', 'user:two', 'assistant:answer 3'])
  const messageId = page.chat.messages[0]?.id ?? ''
  await page.chat.sendMessage({ text: 'uno', messageId })
  await when(() => other.text() === 'answer 4' && other.chat.status === 'ready', 'the edited one')
  expect(other.texts()).toEqual(['user:uno', 'assistant:answer 4'])
})

test('a turn that began elsewhere while the chat was busy is shown after its own', async () => {
  const half = gate()
  const server = await startChatServer({
    onBusy: 'queue',
    answer: ({ messages }) => paced(saying(`to ${messages.length}`), (at) => (at === 4 ? half.opened : undefined)),
  })
  const page = openPage(server.url, { follows: true })
  const other = openPage(server.url, { follows: true })
  await when(() => other.connection.cursors.length === 1, 'it follows')
  const own = page.chat.sendMessage({ text: 'mine' })
  await when(() => page.text() === 'to 1', 'it reads')
  await other.chat.stop()
  const theirs = other.chat.sendMessage({ text: 'theirs' })
  half.open()
  await Promise.all([own, theirs])
  await when(() => page.chat.status === 'ready' && page.chat.messages.length === 4, 'it has both')
  expect(page.texts().filter((text) => text.startsWith('user'))).toEqual(['user:mine', 'user:theirs'])
})

test('a stop that the user pressed is not undone by following; nor is a detach', async () => {
  const half = gate()
  const server = await startChatServer({
    answer: () => paced(saying('a', 'b'), (at) => (at === 4 ? half.opened : undefined)),
  })
  const page = openPage(server.url, { follows: true })
  const ended: unknown[] = []
  page.connection.on('message', ({ type, reason }) => type === 'run.ended' && ended.push(reason))
  void page.chat.sendMessage({ text: 'go' })
  await when(() => page.text() === 'a', 'it reads')
  await page.chat.stop()
  half.open()
  await when(() => ended.length === 1, 'it ends')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect([page.text(), page.chat.status, ended]).toEqual(['a', 'ready', ['finished']])
  expect(page.statuses).toEqual(['submitted', 'streaming', 'ready'])
})

test('after the end of following nothing is shown any more', async () => {
  const server = await startChatServer({ answer: echo() })
  const page = openPage(server.url)
  const other = openPage(server.url, { follows: true })
  await when(() => other.connection.cursors.length === 1, 'it follows')
  other.unfollow()
  await when(() => other.connection.cursors.length === 0, 'it follows no more')
  await page.chat.sendMessage({ text: 'one' })
  expect(other.texts()).toEqual([])
})

test('onRun without a chat hears of those that are read or followed', async () => {
  const server = await startChatServer({ answer: echo() })
  const page = openPage(server.url)
  const other = openPage(server.url)
  const news: unknown[] = []
  const off = other.transport.onRun(({ chatId, message }) => news.push([chatId, message?.parts[0]]))
  const leave = other.transport.onRun(() => {}, { chat: 'chat' })
  await when(() => other.connection.cursors.length === 1, 'it follows')
  await page.chat.sendMessage({ text: 'one' })
  await when(() => news.length === 1, 'it hears')
  expect(news).toEqual([['chat', { type: 'text', text: 'one' }]])
  off()
  leave()
})

test('a prompt that the chat turned away from before it was answered is not brought back', async () => {
  const server = await startChatServer({ answer: echo() })
  const page = openPage(server.url, { follows: true })
  await when(() => page.connection.cursors.length === 1, 'it follows')
  const ended: unknown[] = []
  page.connection.on('message', ({ type, reason }) => type === 'run.ended' && ended.push(reason))
  page.connection.disconnect()
  const sending = page.chat.sendMessage({ text: 'go' })
  await when(() => page.connection.pending.length === 1, 'it waits')
  await page.chat.stop()
  await sending
  page.connection.connect()
  await when(() => ended.length === 1, 'it is answered')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect([page.texts(), page.statuses]).toEqual([['user:go'], ['submitted', 'ready']])
})

test('a run that the chat turned away from is no news to the next follower', async () => {
  const server = await startChatServer({
    answer: () => paced(saying('a', 'b'), (at) => (at === 4 ? gate().opened : undefined)),
  })
  const page = openPage(server.url, { follows: true })
  void page.chat.sendMessage({ text: 'go' })
  await when(() => page.text() === 'a', 'it reads')
  await page.chat.stop()
  const news: unknown[] = []
  page.transport.onRun((run) => news.push(run), { chat: 'chat' })
  expect(news).toEqual([])
})

test('who may read and not write follows from the next run on', async () => {
  let mayWrite = false
  const server = await startChatServer({ answer: echo(), authorize: (_, __, action) => action === 'read' || mayWrite })
  const reader = openPage(server.url, { follows: true })
  await when(() => reader.connection.cursor('chat')?.lastSeq === 0, 'it follows')
  expect(await reader.transport.reconnectToStream({ chatId: 'chat' })).toBeNull()
  mayWrite = true
  await openPage(server.url).chat.sendMessage({ text: 'go' })
  await when(() => reader.text() === 'answer 1', 'it has the answer')
  expect(reader.chat.error).toBeUndefined()
})

test('a run that failed before the page was loaded is told once: by a resume, by following, and by both', async () => {
  const server = await startChatServer({
    answer: () => {
      throw new Error('no model')
    },
  })
  const page = openPage(server.url)
  await page.chat.sendMessage({ text: 'go' })
  for (const resumes of [false, true]) {
    for (const follows of [false, true]) {
      if (!resumes && !follows) continue
      const loaded = openPage(server.url, { messages: page.chat.messages, follows })
      if (resumes) void loaded.chat.resumeStream()
      await when(() => loaded.chat.status === 'error', 'it is told')
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect([loaded.chat.status, loaded.chat.error]).toMatchObject(['error', { code: 'run-failed' }])
      expect(loaded.chat.messages).toEqual(page.chat.messages)
      expect(loaded.finishes).toHaveLength(1)
    }
  }
})

test('what a page says while it is told of a broken run comes first, and is answered', async () => {
  let isUp = false
  const server = await startChatServer({
    answer: () => {
      if (!isUp) throw new Error('no model')
      return paced(saying('a'))
    },
  })
  await openPage(server.url).chat.sendMessage({ text: 'go' })
  isUp = true
  const loaded = openPage(server.url, { follows: true })
  await loaded.chat.sendMessage({ text: 'again' })
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect([loaded.text(), loaded.chat.status, loaded.chat.error]).toEqual(['a', 'ready', undefined])
})

test('a prompt typed offline is shown after a reload by who follows, once, however often it is followed', async () => {
  const server = await startChatServer({ answer: echo() })
  const connection = { storage: persist(createStorage(), { key: 'page' }) }
  const before = openPage(server.url, { isOffline: true, connection })
  void before.chat.sendMessage({ text: 'typed offline' })
  await when(() => before.transport.pending('chat').length === 1, 'it waits')
  before.close()
  const after = openPage(server.url, { isOffline: true, follows: true, connection })
  expect(after.texts()).toEqual(['user:typed offline'])
  after.unfollow()
  onTestFinished(followChat(after.chat, after.transport))
  after.connection.connect()
  await when(() => after.text() === 'answer 1' && after.chat.status === 'ready', 'its answer')
  expect(after.texts()).toEqual(['user:typed offline', 'assistant:answer 1'])
})
