import { Chat } from '@ai-sdk/react'
import type { UIMessage } from 'ai'
import { expect, onTestFinished, test } from 'vitest'
import { createChatTransport, followChat } from '../../ai-sdk'
import { gate, openPage, paced, saying, startChatServer, textOf, when } from './chatWorld'

test('who follows a chat and may not read it asks once; who follows it again, asks again', async () => {
  let mayRead = false
  const server = await startChatServer({
    answer: () => paced(saying('a')),
    authorize: (_user, _session, action) => action === 'write' || mayRead,
  })
  const page = openPage(server.url, { follows: true })
  let asked = 0
  let refused = 0
  page.connection.on('delivery', ({ status }) => status === 'sending' && asked++)
  page.connection.on('session', ({ status }) => status === 'forbidden' && refused++)
  await when(() => refused > 0, 'it is refused')
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(asked).toBe(1)
  mayRead = true
  page.unfollow()
  followChat(page.chat, page.transport)
  await when(() => page.connection.cursor('chat')?.lastSeq === 0, 'it follows')
  await openPage(server.url).chat.sendMessage({ text: 'go' })
  await when(() => page.text() === 'a', 'it has the answer')
})

test('who follows offline for longer than a message may wait, or whose outbox is cleared, is not deaf afterwards', async () => {
  const server = await startChatServer({ answer: () => paced(saying('a')) })
  const aged = openPage(server.url, { follows: true, isOffline: true, connection: { outbox: { maxAge: 1 } } })
  const cleared = openPage(server.url, { follows: true, isOffline: true })
  cleared.connection.clearOutbox()
  await new Promise((resolve) => setTimeout(resolve, 5))
  for (const { connection } of [aged, cleared]) connection.connect()
  await when(() => [aged, cleared].every(({ connection }) => connection.cursor('chat')?.lastSeq === 0), 'both follow')
  await openPage(server.url).chat.sendMessage({ text: 'go' })
  await when(() => aged.text() === 'a' && cleared.text() === 'a', 'both have the answer')
})

test('a prompt that is stopped while it is being prepared is never sent, and its chat is ready at once', async () => {
  const server = await startChatServer({ answer: () => paced(saying('a')) })
  const [preparing, uploaded] = [gate(), gate()]
  const page = openPage(server.url, {
    async prepareSendMessagesRequest({ id, messages, trigger, messageId }) {
      preparing.open()
      await uploaded.opened
      return { body: { id, messages, trigger, messageId } }
    },
  })
  const sending = page.chat.sendMessage({ text: 'one' })
  await preparing.opened
  page.transport.stop('another')
  page.transport.stop('chat')
  await sending
  expect([page.chat.status, page.finishes[0]?.isAbort]).toEqual(['ready', true])
  uploaded.open()
  await page.chat.sendMessage({ text: 'two' })
  expect([server.contexts.length, page.text()]).toEqual([1, 'a'])
})

test('a connection that is disposed of ends what its chats read, and what they read later', async () => {
  const server = await startChatServer({
    answer: () => paced(saying('a', 'b'), (at) => (at === 4 ? gate().opened : undefined)),
  })
  for (const isClosedBefore of [false, true]) {
    const id = String(isClosedBefore)
    const page = openPage(server.url, { id, follows: true })
    const sending = page.chat.sendMessage({ text: 'go' })
    await when(() => page.text() === 'a', 'it reads')
    if (isClosedBefore) {
      page.connection.disconnect()
      await new Promise((resolve) => setTimeout(resolve, 10))
      expect(page.chat.status).toBe('streaming')
    }
    page.connection.dispose()
    await sending
    expect(page.chat.error).toMatchObject({ code: 'disposed' })
    await page.chat.resumeStream()
    expect(page.chat.error).toMatchObject({ code: 'disposed' })
    page.transport.stop(id)
  }
})

test('two chats of one connection, each on its own transport, show every turn that they follow, each once', async () => {
  let turn = 0
  const server = await startChatServer({ answer: () => paced(saying(`answer ${++turn}`)) })
  const page = openPage(server.url, { follows: true })
  const transport = createChatTransport(page.connection)
  const twin = new Chat<UIMessage>({ id: 'chat', transport })
  // Twice, and it leaves twice: it is one follower.
  const again = followChat(page.chat, page.transport)
  followChat(page.chat, page.transport)
  again()
  again()
  onTestFinished(followChat(twin, transport))
  const writer = openPage(server.url)
  await when(() => page.connection.cursors.length === 1, 'both follow')
  page.connection.disconnect()
  await writer.chat.sendMessage({ text: 'one' })
  await writer.chat.sendMessage({ text: 'two' })
  page.connection.connect()
  for (const chat of [page.chat, twin]) {
    await when(() => textOf(chat) === 'answer 2' && chat.status === 'ready', 'it has the last answer')
    expect(chat.messages).toEqual(writer.chat.messages)
  }
  expect(page.statuses.filter((status) => status === 'streaming')).toHaveLength(2)
})
