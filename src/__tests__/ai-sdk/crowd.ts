import { Chat } from '@ai-sdk/react'
import type { UIMessage } from 'ai'
import { expect, test } from 'vitest'
import type { SessionLog } from '../../server'
import { createCutter } from '../support/cutter'
import { openPage, paced, saying, startChatServer, textOf, words } from './chatWorld'

export interface CrowdSize {
  readonly chats: number
  readonly chunks: number
}

/** Many chats at once, and a long answer. Full in `npm run test:field`. */
export function crowd(createLog: () => SessionLog, { chats: count, chunks }: CrowdSize) {
  test(`${count} chats of two pages at once, whose sockets are cut: each has its own answer, whole, once`, async () => {
    const cutter = createCutter(7, 0.02)
    const own = (id: string) => words(10).map((word) => `${id}:${word}`)
    const server = await startChatServer({
      log: createLog(),
      answer: ({ chatId }) => paced(saying(...own(chatId)), cutter.shake),
    })
    cutter.cuts(server)
    const pages = ['page0', 'page1'].map((id) => openPage(server.url, { id, connection: { fetch: cutter.fetch } }))
    const chats = Array.from({ length: count }, (_, n) => {
      const transport = pages[n % pages.length]?.transport
      return new Chat<UIMessage>({ id: `chat${n}`, ...(transport && { transport }) })
    })
    await Promise.all(chats.map((chat) => chat.sendMessage({ text: chat.id })))
    expect(chats.map(textOf)).toEqual(chats.map(({ id }) => own(id).join('')))
    expect(new Set(chats.map(({ status }) => status))).toEqual(new Set(['ready']))
    expect(server.contexts.map(({ chatId }) => chatId).sort()).toEqual(chats.map(({ id }) => id).sort())
    expect(cutter.count).toBeGreaterThan(2)
  }, 120_000)

  test(`an answer of ${chunks} chunks arrives whole, and in fewer events`, async () => {
    const deltas = words(chunks)
    let events = 0
    const server = await startChatServer({ log: createLog(), answer: () => paced(saying(...deltas), () => undefined) })
    const page = openPage(server.url)
    page.connection.on('message', ({ type }) => {
      if (type === 'ui') events += 1
    })
    await page.chat.sendMessage({ text: 'go' })
    expect(page.text()).toBe(deltas.join(''))
    expect(page.statuses).toEqual(['submitted', 'streaming', 'ready'])
    expect(events).toBeLessThan(chunks / 5)
  }, 120_000)
}
