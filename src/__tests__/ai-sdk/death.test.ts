import { lastAssistantMessageIsCompleteWithToolCalls, type UIMessage } from 'ai'
import { expect, test } from 'vitest'
import { nodesOnRedis } from '../support/nodesOnRedis'
import { describeWithRedis } from '../support/redis'
import { openPage, type PageSetup, when } from './chatWorld'

const PROGRAM = new URL('chatProcess.ts', import.meta.url)
/** Each process takes some seconds to start where others compute. ms. */
const PATIENCE = 120_000

describeWithRedis('useChat over several processes', () => {
  const { start, startFirst: startNode, second } = nodesOnRedis(PROGRAM, PATIENCE)

  /** Pages reach the first node. Each test has a chat of its own. */
  async function startFirst(id: string) {
    const { first, gateway } = await startNode()
    const open = (setup: PageSetup = {}) =>
      openPage(gateway.url, { id, ...setup, connection: { fetch: gateway.fetch } })
    return { first, gateway, open }
  }

  test(
    'SIGKILL of the process that answers: the other one tells every page `interrupted`, what came stays, and a retry works',
    async () => {
      const { first, gateway, open } = await startFirst('killed')
      const page = open()
      const follower = openPage(second().url, { id: 'killed', follows: true })
      const sending = page.chat.sendMessage({ text: 'slow' })
      await when(() => page.text().includes('5 ') && follower.text().includes('5 '), 'both read')
      gateway.leadTo(second().url)
      await first.kill()
      await sending
      await when(() => follower.chat.status === 'error', 'the other one is told')
      for (const { chat, finishes } of [page, follower]) {
        expect(chat.error).toMatchObject({ code: 'run-interrupted' })
        expect(finishes).toEqual([{ isAbort: false, isError: true, finishReason: 'interrupted' }])
      }
      expect(page.text()).toMatch(/^0 1 2 3 4 5 /)
      expect(follower.text()).toBe(page.text())
      await page.chat.regenerate()
      expect([page.text(), page.chat.status]).toEqual(['from second', 'ready'])
      await when(() => follower.text() === 'from second' && follower.chat.status === 'ready', 'the other one too')
      expect(follower.chat.messages).toEqual(page.chat.messages)
    },
    PATIENCE,
  )

  test(
    'SIGKILL, and a page that is loaded before anybody has noticed: it reads what there is, and is told the end',
    async () => {
      const { first, gateway, open } = await startFirst('reloaded')
      const page = open()
      void page.chat.sendMessage({ text: 'slow' })
      await when(() => page.text().includes('5 '), 'it reads')
      const history = page.chat.messages.slice(0, 1)
      page.close()
      gateway.leadTo(second().url)
      await first.kill()
      const reloaded = open({ messages: history })
      await reloaded.chat.resumeStream()
      expect(reloaded.text()).toMatch(/^0 1 2 3 4 5 /)
      expect(reloaded.chat.error).toMatchObject({ code: 'run-interrupted' })
      await reloaded.chat.sendMessage({ text: 'again' })
      expect([reloaded.text(), reloaded.chat.status]).toEqual(['from second', 'ready'])
    },
    PATIENCE,
  )

  test(
    'a process that is restarted while it answers: it ends its answer, the page reads on from the other one, and nothing is lost',
    async () => {
      const { first, gateway, open } = await startFirst('restarted')
      const page = open()
      const sending = page.chat.sendMessage({ text: 'long' })
      await when(() => page.text().includes('5 '), 'it reads')
      gateway.leadTo(second().url)
      await Promise.all([sending, first.stop()])
      expect(page.text()).toBe(Array.from({ length: 40 }, (_, n) => `${n} `).join(''))
      expect(page.statuses).toEqual(['submitted', 'streaming', 'ready'])
      await page.chat.sendMessage({ text: 'next' })
      expect(page.text()).toBe('from second')
    },
    PATIENCE,
  )

  test(
    'its process is gone while a run waits for a tool: a new one goes on with it when the page answers',
    async () => {
      const { first, gateway, open } = await startFirst('asks')
      const page = open({ sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls })
      await page.chat.sendMessage({ text: 'ask' })
      expect(page.chat.messages.at(-1)?.parts.at(-1)).toMatchObject({ type: 'tool-place', state: 'input-available' })
      await first.kill()
      await page.chat.addToolOutput({ tool: 'place', toolCallId: 'c1', output: 'Bonn' })
      gateway.leadTo((await start('third')).url)
      await when(() => page.chat.status === 'ready' && page.text() === 'from third', 'its answer')
      expect(page.chat.messages.map(({ role }: UIMessage) => role)).toEqual(['user', 'assistant'])
    },
    PATIENCE,
  )
})
