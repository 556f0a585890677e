import { behaviour, closings, expectEqual, expectTrue } from '../behaviour'
import type { ContractCase } from '../case'

export const liveness: readonly ContractCase[] = [
  behaviour(
    'C76: a stream that has ended without an event is noticed with the next message, and at a wake',
    async (line) => {
      await line.opens()
      line.hush()
      expectEqual((await line.send('noticed').settled).status, 'accepted', 'verdict')
      await line.until('open again', () => line.connection.isOpen)
      expectEqual(closings(line), ['failed'], 'closed')
      line.hush()
      line.connection.wake()
      await line.until('open once more', () => closings(line).length === 2 && line.connection.isOpen)
      expectEqual(closings(line), ['failed', 'failed'], 'closed')
    },
    { needs: 'silent-ends' },
  ),

  behaviour('C22 C23: a stream that says nothing is given up', async (line) => {
    await line.opens()
    line.server.drops(() => true)
    await line.until('silence', () => closings(line).includes('silent'))
    line.server.drops(() => false)
    await line.until('open again', () => line.connection.isOpen)
  }),

  behaviour(
    'a comment is a sign of life',
    async (line) => {
      await line.opens()
      line.server.drops(() => true)
      // Two and a half heartbeats of the line's time; two are the limit.
      const start = Date.now()
      while (Date.now() - start < 4_500) {
        line.server.saysRaw(': still here\n\n')
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      expectEqual(closings(line), [], 'closed')
    },
    { needs: 'comments' },
  ),

  behaviour('goodbye is obeyed: the line comes back, not before the server said', async (line) => {
    await line.opens()
    const start = Date.now()
    line.server.says({ type: 'goodbye', retryAfter: 3_000, spread: 100 })
    await line.until('closed', () => closings(line).includes('goodbye'))
    await line.until('open again', () => line.connection.isOpen)
    expectTrue(Date.now() - start >= 250, `back after ${Date.now() - start} ms`)
  }),

  behaviour('C22: after a wake the stream has to prove itself', async (line) => {
    await line.opens()
    line.connection.wake()
    await line.until('the probe', () => line.server.requestsTo('probe').length === 1)
    await line.until('steady', () =>
      line.connection.actor.getSnapshot().matches({ active: { streaming: { open: 'steady' } } } as never),
    )
    expectEqual(closings(line), [], 'closed')
    line.server.drops((frame) => frame.includes('"probe"'))
    line.connection.wake()
    await line.until('given up', () => closings(line).includes('probe-timeout'))
  }),
]
