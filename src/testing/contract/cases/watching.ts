import { behaviour, closings, expectEqual, publishes, range, sessions } from '../behaviour'
import type { ContractCase } from '../case'

export const watching: readonly ContractCase[] = [
  behaviour('a cursor that the server never gave is reset, and told', async (line) => {
    await publishes(line, 3)
    line.connection.watch('s1', { after: 99 })
    await line.opens()
    await line.until('told', () => sessions(line).length > 0)
    const [{ status, to } = { status: '', to: -1 }] = sessions(line)
    expectEqual([status, to], ['reset', 3], 'reset')
    await publishes(line, 1)
    await line.until('the next event', () => line.seqs().length === 1)
    expectEqual(line.seqs(), [4], 'events')
  }),

  behaviour("`after: 'head'` follows from now on, and tells of no reset", async (line) => {
    await publishes(line, 3)
    await publishes(line, 3, 'other')
    line.connection.watch('s1', { after: 'head' })
    await line.opens()
    line.connection.watch('other', { after: 'head' })
    for (const name of ['s1', 'other'])
      await line.until(`the head of ${name}`, () => line.connection.cursor(name)?.lastSeq === 3)
    await publishes(line, 1)
    await publishes(line, 1, 'other')
    await line.until('the next events', () => line.messages.length === 2)
    expectEqual([line.seqs(), line.seqs('other'), sessions(line)], [[4], [4], []], 'events, and news of sessions')
  }),

  behaviour('C35: what comes twice is delivered once', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    await publishes(line, 2)
    await line.until('both', () => line.seqs().length === 2)
    line.server.says({ type: 'token', sessionId: 's1', seq: 2 })
    line.server.says({ type: 'notice' })
    await line.until('what is behind it', () => line.messages.length === 3)
    expectEqual(line.seqs(), [1, 2], 'events')
  }),

  behaviour('C19: a session that is watched on an open line is replayed, and the line stays open', async (line) => {
    await publishes(line, 5, 'late')
    await line.opens()
    line.connection.watch('late')
    await line.until('the replay', () => line.seqs('late').length === 5)
    expectEqual([line.seqs('late'), closings(line)], [range(5), []], 'events')
    line.connection.unwatch('late')
    await line.until('the unwatch', () => line.server.requestsTo('unwatch').length === 1)
    await publishes(line, 1, 'late')
    line.server.says({ type: 'notice' })
    await line.until('what is behind it', () => line.messages.some(({ type }) => type === 'notice'))
    expectEqual(line.seqs('late'), range(5), 'after it is not followed any more')
  }),
]
