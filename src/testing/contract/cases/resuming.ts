import { behaviour, closings, expectEqual, first, json, phases, publishes, range, sessions } from '../behaviour'
import type { ContractCase } from '../case'

export const resuming: readonly ContractCase[] = [
  behaviour('C05 C11: a failed resume opens nothing; the next stream does, and the queue leaves then', async (line) => {
    const isFirst = first(true, false)
    line.server.intercepts((endpoint, next) => (endpoint === 'reconnect' && isFirst() ? json(500, {}) : next()))
    line.connection.watch('s1')
    const delivery = line.send('patient')
    await line.opens()
    expectEqual(phases(line).includes('backoff'), true, 'backoff')
    expectEqual([(await delivery.settled).attempts, line.server.prompts()], [1, ['patient']], 'sent once')
  }),

  behaviour('a resume that is forbidden as a whole is final', async (line) => {
    line.server.intercepts((endpoint, next) => (endpoint === 'reconnect' ? json(403, {}) : next()))
    line.connection.watch('s1')
    line.connection.connect()
    await line.until('stopped', () => line.told.some(([name]) => name === 'stopped'))
    expectEqual([line.connection.phase, line.connection.lastError?.code], ['idle', 'forbidden'], 'stopped')
  }),

  behaviour('one session that is forbidden does not harm the others', async (line) => {
    line.connection.watch('s1')
    line.connection.watch('forbidden')
    await line.opens()
    await publishes(line, 3)
    await line.until('the events', () => line.messages.length === 3)
    expectEqual(sessions(line).find(({ status }) => status === 'forbidden')?.sessionId, 'forbidden', 'told')
    expectEqual(
      line.connection.cursors.map(({ sessionId }) => sessionId),
      ['s1'],
      'tracked',
    )
  }),

  behaviour('I6 C10: cut at any moment, every event comes once and in order', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    for (let round = 0; round < 5; round++) {
      await publishes(line, 40)
      line.cut()
      await publishes(line, 40)
      await line.until(`round ${round}`, () => line.seqs().length >= 80 * round + 40)
    }
    await line.until('the rest', () => line.seqs().length >= 400)
    expectEqual(line.seqs(), range(400), 'events')
  }),

  behaviour('C34: a hole is noticed and fetched; nothing is delivered over it', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    await publishes(line, 2)
    const isFirst = first(true, false)
    line.server.drops((frame) => /"seq":3\b/.test(frame) && isFirst())
    await publishes(line, 4)
    await line.until('all', () => line.seqs().length === 6)
    expectEqual([line.seqs(), closings(line)], [range(6), ['gap']], 'events')
  }),
]
