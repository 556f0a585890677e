import { createConnection } from 'holdline'
import { createHarness, type Harness } from 'holdline/testing'
import { beforeEach, expect, test } from 'vitest'
import { type ChatConnection, type ChatEvent, createChat, type Prompt } from './chat'

let harness: Harness
let line: ChatConnection

beforeEach(() => {
  harness = createHarness({ create: (environment) => (line = createConnection<ChatEvent, Prompt>(environment)) })
})

const texts = (chat: ReturnType<typeof createChat>) =>
  chat.getSnapshot().map(({ text, status = 'said' }) => `${text}: ${status}`)

test('what is on its way when the chat is made is part of it, e.g. what an earlier page has left', async () => {
  line.send({ type: 'send', sessionId: 's1', prompt: 'hi' })
  expect(texts(createChat(line, 's1'))).toEqual(['hi: queued'])
})

test('a chat shows its own session, and no other', async () => {
  const chat = createChat(line, 's1')
  line.watch('s2')
  line.send({ type: 'send', sessionId: 's2', prompt: 'elsewhere' })
  await harness.opens()
  harness.server.publish('s2', { type: 'token', answer: '1', text: 'elsewhere' })
  line.send({ type: 'send', sessionId: 's2', prompt: 'elsewhere' })
  await harness.settles()
  expect(texts(chat)).toEqual([])
})

test('a prompt whose event comes before its verdict is there once', async () => {
  const chat = createChat(line, 's1')
  await harness.opens()
  harness.server.behaves({
    post(post, next) {
      if (post.endpoint === 'send')
        harness.server.publish('s1', { type: 'prompt', id: post.key, text: post.body.prompt })
      next()
    },
  })
  const verdict = await chat.say('hi').settled
  expect(verdict.status).toBe('accepted')
  await harness.settles()
  expect(texts(chat)).toEqual(['hi: said'])
})

test('what is left is not told any more, and may be made anew with all that was said', async () => {
  const chat = createChat(line, 's1')
  await harness.opens()
  harness.server.publish('s1', { type: 'token', answer: '1', text: 'a' })
  chat.leave()
  expect(line.cursors).toEqual([])
  const again = createChat(line, 's1')
  await harness.settles()
  harness.server.publish('s1', { type: 'token', answer: '1', text: 'b' })
  await harness.settles()
  expect(texts(again)).toEqual(['ab: said'])
  expect(texts(chat)).toEqual(['a: said'])
})
