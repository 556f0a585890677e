import { Chat } from '@ai-sdk/react'
import type { UIMessage } from 'ai'
import { describe, expect, test } from 'vitest'
import { memoryLog, type SessionLog } from '../../server'
import { createCutter } from '../support/cutter'
import { describeWithRedis } from '../support/redis'
import { redisLogs } from '../support/redisLogs'
import { openPage, paced, saying, startChatServer, textOf, words } from './chatWorld'

describe('useChat, the log in memory', () => crowd(() => memoryLog()))

describeWithRedis('useChat, the log in Redis', () => {
  crowd(redisLogs())
})

function crowd(createLog: () => SessionLog) {
  test('200 chats of two pages at once, whose sockets are cut: each has its own answer, whole, once', async () => {
    const cutter = createCutter(7, 0.02)
    const own = (id: string) => words(10).map((word) => `${id}:${word}`)
    const server = await startChatServer({
      log: createLog(),
      answer: ({ chatId }) => paced(saying(...own(chatId)), cutter.shake),
    })
    cutter.cuts(server)
    const pages = ['page0', 'page1'].map((id) => openPage(server.url, { id, connection: { fetch: cutter.fetch } }))
    const chats = Array.from({ length: 200 }, (_, n) => {
      const transport = pages[n % pages.length]?.transport
      return new Chat<UIMessage>({ id: `chat${n}`, ...(transport && { transport }) })
    })
    await Promise.all(chats.map((chat) => chat.sendMessage({ text: chat.id })))
    expect(chats.map(textOf)).toEqual(chats.map(({ id }) => own(id).join('')))
    expect(new Set(chats.map(({ status }) => status))).toEqual(new Set(['ready']))
    expect(server.contexts.map(({ chatId }) => chatId).sort()).toEqual(chats.map(({ id }) => id).sort())
    expect(cutter.count).toBeGreaterThan(2)
  }, 120_000)

  test('an answer of 20,000 chunks arrives whole, and in fewer events', async () => {
    const deltas = words(20_000)
    let events = 0
    const server = await startChatServer({ log: createLog(), answer: () => paced(saying(...deltas), () => undefined) })
    const page = openPage(server.url)
    page.connection.on('message', ({ type }) => {
      if (type === 'ui') events += 1
    })
    await page.chat.sendMessage({ text: 'go' })
    expect(page.text()).toBe(deltas.join(''))
    expect(page.statuses).toEqual(['submitted', 'streaming', 'ready'])
    expect(events).toBeLessThan(4_000)
  }, 120_000)
}
