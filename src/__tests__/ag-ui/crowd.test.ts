import { describe, expect, test } from 'vitest'
import { HoldlineAgent } from '../../ag-ui'
import { memoryLog, type SessionLog } from '../../server'
import { createCutter } from '../support/cutter'
import { describeWithRedis } from '../support/redis'
import { redisLogs } from '../support/redisLogs'
import { openPage, paced, saying, startAgentServer, words } from './agentWorld'

describe('AG-UI agents, the log in memory', () => crowd(() => memoryLog()))

describeWithRedis('AG-UI agents, the log in Redis', () => {
  crowd(redisLogs())
})

function crowd(createLog: () => SessionLog) {
  test('200 agents of two pages at once, whose sockets are cut: each has its own answer, whole, once', async () => {
    const cutter = createCutter(7, 0.02)
    const own = (id: string) => words(10).map((word) => `${id}:${word}`)
    const server = await startAgentServer({
      log: createLog(),
      answer: (input) => paced(saying(input, ...own(input.threadId)), cutter.shake),
    })
    cutter.cuts(server)
    const lines = [0, 1].map(() => openPage(server.url, { line: { fetch: cutter.fetch } }).connection)
    const agents = Array.from({ length: 200 }, (_, n) => {
      const [even, odd] = lines as [(typeof lines)[0], (typeof lines)[0]]
      return new HoldlineAgent({ connection: n % 2 ? odd : even, threadId: `thread${n}` })
    })
    await Promise.all(
      agents.map((agent) => {
        agent.addMessage({ id: crypto.randomUUID(), role: 'user', content: 'go' })
        return agent.runAgent()
      }),
    )
    const texts = agents.map(({ messages }) => messages.map(({ content }) => content))
    expect(texts).toEqual(agents.map(({ threadId }) => ['go', own(threadId).join('')]))
    expect(server.inputs.map(({ threadId }) => threadId).sort()).toEqual(agents.map(({ threadId }) => threadId).sort())
    expect(cutter.count).toBeGreaterThan(2)
  }, 120_000)

  test('an answer of 20,000 deltas arrives whole, and in fewer events', async () => {
    const deltas = words(20_000)
    const server = await startAgentServer({
      log: createLog(),
      answer: (input) => paced(saying(input, ...deltas), () => undefined),
    })
    const page = openPage(server.url)
    await page.say('go')
    expect([page.text(), page.failures]).toEqual([deltas.join(''), []])
    expect(page.events.length).toBeLessThan(4_000)
  }, 120_000)
}
