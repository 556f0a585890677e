import { expect, test } from 'vitest'
import { nodesOnRedis } from '../support/nodesOnRedis'
import { describeWithRedis } from '../support/redis'
import { openPage, type PageSetup, when } from './agentWorld'

const PROGRAM = new URL('agentProcess.ts', import.meta.url)
/** Each process takes some seconds to start where others compute. ms. */
const PATIENCE = 120_000

describeWithRedis('an AG-UI agent over several processes', () => {
  const { startFirst: startNode, second } = nodesOnRedis(PROGRAM, PATIENCE)

  /** Pages reach the first node. Each test has a thread of its own. */
  async function startFirst(threadId: string) {
    const { first, gateway } = await startNode()
    const open = (setup: PageSetup = {}) =>
      openPage(gateway.url, { threadId, ...setup, line: { fetch: gateway.fetch } })
    return { first, gateway, open }
  }

  test(
    'SIGKILL of the process that answers: the other one tells every page `interrupted`, what came stays, and a retry works',
    async () => {
      const { first, gateway, open } = await startFirst('killed')
      const page = open()
      const follower = openPage(second().url, { threadId: 'killed', follows: true })
      const running = page.say('slow')
      await when(() => page.text().includes('5 ') && follower.text().includes('5 '), 'both read')
      gateway.leadTo(second().url)
      await first.kill()
      await running
      await when(() => !follower.agent.isRunning, 'the other one is told')
      for (const { last, text } of [page, follower]) {
        expect(last()).toMatchObject({ type: 'RUN_ERROR', code: 'run-interrupted' })
        expect(text()).toMatch(/^0 1 2 3 4 5 /)
      }
      expect(follower.text()).toBe(page.text())
      await page.say('again')
      expect([page.text(), page.last()?.type, page.failures]).toEqual(['from second', 'RUN_FINISHED', []])
      await when(() => follower.text() === 'from second', 'the other one too')
    },
    PATIENCE,
  )

  test(
    'SIGKILL, and a page that connects before anybody has noticed: it reads what there is, and is told the end',
    async () => {
      const { first, gateway, open } = await startFirst('reloaded')
      const page = open()
      void page.say('slow')
      await when(() => page.text().includes('5 '), 'it reads')
      const stored = structuredClone(page.agent.messages)
      page.close()
      gateway.leadTo(second().url)
      await first.kill()
      const reloaded = open({ history: () => ({ messages: stored }) })
      await reloaded.agent.connectAgent()
      expect(reloaded.last()).toMatchObject({ type: 'RUN_ERROR', code: 'run-interrupted' })
      expect(reloaded.text()).toMatch(/^0 1 2 3 4 5 /)
      await reloaded.say('again')
      expect(reloaded.text()).toBe('from second')
    },
    PATIENCE,
  )

  test(
    'a process that is restarted while it answers: it ends its run, the page reads on from the other one, and nothing is lost',
    async () => {
      const { first, gateway, open } = await startFirst('restarted')
      const page = open()
      const running = page.say('long')
      await when(() => page.text().includes('5 '), 'it reads')
      gateway.leadTo(second().url)
      await Promise.all([running, first.stop()])
      expect(page.text()).toBe(Array.from({ length: 40 }, (_, n) => `${n} `).join(''))
      expect([page.last()?.type, page.failures]).toEqual(['RUN_FINISHED', []])
      await page.say('next')
      expect(page.text()).toBe('from second')
    },
    PATIENCE,
  )
})
