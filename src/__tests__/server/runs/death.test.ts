import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { createChatServer } from '../../../server'
import { redisLog } from '../../../server/redis'
import { createRuns } from '../../../server/runs'
import { describeWithRedis, startRedis } from '../../support/redis'
import { eventsOf } from './stage'

describeWithRedis('a process that closes its log while a run goes on', () => {
  test('ends by itself, and says nothing', async () => {
    const redis = await startRedis()
    const program = fileURLToPath(new URL('leavingProcess.ts', import.meta.url))
    const child = fork(program, [redis.url], { execArgv: ['--import', 'tsx'], silent: true })
    try {
      let said = ''
      for (const output of [child.stdout, child.stderr]) output?.on('data', (chunk) => (said += chunk))
      child.once('message', () => child.disconnect())
      const exit = once(child, 'exit')
      const given = new Promise((resolve) => setTimeout(resolve, 20_000, 'it is still there'))
      expect(await Promise.race([exit, given])).toEqual([0, null])
      expect(said).toBe('')
    } finally {
      child.kill('SIGKILL')
      await redis.stop()
    }
  }, 60_000)
})

describeWithRedis('a process that is killed', () => {
  test('its runs, running and queued, end as interrupted within 10 s, by another process', async () => {
    const redis = await startRedis()
    const log = redisLog({ url: redis.url })
    const server = createChatServer({ log, authenticate: () => null, authorize: () => true, onCommand: () => null })
    const runs = createRuns({ server })
    const program = fileURLToPath(new URL('producerProcess.ts', import.meta.url))
    const child = fork(program, [redis.url], { execArgv: ['--import', 'tsx'] })
    try {
      await once(child, 'message')
      const hasSaid = async (count: number) =>
        (await eventsOf(log, 's1')).filter(({ type }) => type === 'text').length > count
      await expect.poll(() => hasSaid(5)).toBe(true)
      // It lives for longer than a lease, and says so.
      await expect.poll(() => hasSaid(300), { timeout: 30_000, interval: 200 }).toBe(true)
      const { run, queued } = await runs.active('s1')
      const exit = once(child, 'exit')
      child.kill('SIGKILL')
      await exit
      const killedAt = performance.now()
      const ends = async () => (await eventsOf(log, 's1')).filter(({ type }) => type === 'run.ended')
      await expect.poll(ends).toHaveLength(2)
      expect(performance.now() - killedAt).toBeLessThan(10_000)
      const reason = 'interrupted'
      expect(await ends()).toEqual([run?.id, ...queued].map((id) => ({ type: 'run.ended', run: id, reason })))
      expect((await runs.active('s1')).run).toBe(null)
    } finally {
      child.kill('SIGKILL')
      await server.close()
      log.close()
      await redis.stop()
    }
  }, 90_000)
})
