import { behaviour, closings, expectEqual, expectTrue, first, json } from '../behaviour'
import type { ContractCase } from '../case'

export const refusals: readonly ContractCase[] = [
  behaviour('C57: a stream that the server does not know is replaced, and the message arrives', async (line) => {
    const isFirst = first(true, false)
    line.server.intercepts((endpoint, next) =>
      endpoint === 'send' && isFirst() ? json(404, { error: 'unknown-stream' }) : next(),
    )
    await line.opens()
    const before = line.connection.connectionId
    expectEqual((await line.send('anyway').settled).status, 'accepted', 'verdict')
    expectTrue(line.connection.connectionId !== before, 'the same stream')
    expectEqual(closings(line), ['disowned'], 'closed')
  }),

  behaviour(
    'C29: a 401 to a message asks the hook once more, then it is repeated',
    async (line) => {
      const isFirst = first(true, false)
      line.server.intercepts((endpoint, next) => (endpoint === 'send' && isFirst() ? json(401, {}) : next()))
      await line.opens()
      expectEqual((await line.send('renewed').settled).status, 'accepted', 'verdict')
    },
    { needs: 'renewal-of-posts', headers: () => ({ authorization: 'token' }) },
  ),

  behaviour('C31: a 401 that stays stops the line, and keeps what is queued', async (line) => {
    line.server.intercepts((endpoint, next) => (endpoint === 'send' ? json(401, {}) : next()))
    await line.opens()
    const delivery = line.send('kept')
    await line.until('idle', () => line.connection.phase === 'idle')
    expectEqual(
      [line.connection.lastError?.code, delivery.status, line.connection.pending.length],
      ['unauthorized', 'queued', 1],
      'stopped',
    )
    line.server.intercepts((_, next) => next())
    line.connection.connect()
    expectEqual((await delivery.settled).status, 'accepted', 'after another connect')
  }),

  behaviour(
    'C31: a stream that is refused with 401 stops the line',
    async (line) => {
      line.server.interceptsStreams(() => json(401, {}))
      line.connection.connect()
      await line.until('stopped', () => line.told.some(([name]) => name === 'stopped'))
      expectEqual([line.connection.phase, line.connection.lastError?.code], ['idle', 'unauthorized'], 'stopped')
    },
    { needs: 'stream-status' },
  ),

  ...(
    [
      ['204', 'ended', () => new Response(null, { status: 204 })],
      ['403 that says why', 'forbidden', () => json(403, { error: 'blocked' })],
      ['403 that says nothing, three times in a row', 'forbidden', () => new Response('<h1>no</h1>', { status: 403 })],
    ] as const
  ).map(([status, code, refuse]) =>
    behaviour(
      `C72: a stream that is refused with ${status} stops the line`,
      async (line) => {
        line.server.interceptsStreams(refuse)
        const delivery = line.send('kept')
        line.connection.connect()
        await line.until('stopped', () => line.told.some(([name]) => name === 'stopped'))
        expectEqual([line.connection.phase, line.connection.lastError?.code], ['idle', code], 'stopped')
        line.server.interceptsStreams((next) => next())
        line.connection.connect()
        expectEqual((await delivery.settled).status, 'accepted', 'after another connect')
      },
      { needs: 'stream-status' },
    ),
  ),

  behaviour('C72: a 403 that says nothing may pass', async (line) => {
    let refusals = 0
    line.server.interceptsStreams((next) => (refusals++ < 2 ? new Response('<h1>no</h1>', { status: 403 }) : next()))
    await line.opens()
    expectEqual(refusals >= 2, true, 'refused')
  }),

  behaviour(
    'C40: a refused stream is not tried again before the server said',
    async (line) => {
      const isFirst = first(true, false)
      const opened: number[] = []
      line.server.interceptsStreams((next) => {
        opened.push(Date.now())
        return isFirst() ? json(503, {}, { 'Retry-After': '3' }) : next()
      })
      await line.opens()
      expectTrue((opened[1] ?? 0) - (opened[0] ?? 0) >= 250, `again after ${(opened[1] ?? 0) - (opened[0] ?? 0)} ms`)
    },
    { needs: 'stream-retry-after' },
  ),
]
