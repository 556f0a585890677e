import { createConnection, type Transport } from 'holdline'
import { eventSourceTransport, fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { listen } from '../../../tools/shared/listen'
import { listenForSockets } from '../support/gateway'
import { createTestServer } from '../support/server'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const TRANSPORTS: [string, Transport | undefined, typeof listen][] = [
  ['an EventSource', eventSourceTransport, listen],
  ['a fetch stream', fetchStreamTransport, listen],
  [
    'a WebSocket',
    webSocketTransport({ WebSocket }),
    async (handler) =>
      ({ ...(await listenForSockets(async (request) => handler(request))), destroySockets() {} }) as never,
  ],
]

test.each(TRANSPORTS)(
  'C104: a client that follows by %s hears forbidden of what was revoked, once, and goes on with the rest',
  async (_, transport, listening) => {
    let mayRead = true
    const { server } = createTestServer({
      authenticate: () => ({ id: 'alice' }),
      authorize: (_, sessionId) => sessionId !== 'room' || mayRead,
      heartbeat: 60_000,
    })
    const site = await listening((request) => server.fetch(request))
    cleanups.push(site.close)
    const connection = createConnection({
      url: site.url,
      backoff: { base: 5, cap: 5 },
      ...(transport && { transport }),
    })
    cleanups.push(connection.dispose)
    const heard: string[] = []
    const told: string[] = []
    connection.on('message', ({ sessionId, n }) => heard.push(`${sessionId} ${n}`))
    connection.on('session', ({ sessionId, status }) => told.push(`${sessionId} ${status}`))
    connection.watch('room')
    connection.watch('own')
    connection.connect()
    await expect.poll(() => connection.isOpen).toBe(true)
    for (const session of ['room', 'own']) await server.publish(session, { type: 'x', n: 1 })
    await expect.poll(() => heard.toSorted()).toEqual(['own 1', 'room 1'])

    told.length = 0
    mayRead = false
    const revoked = server.revoke('alice', 'room')
    for (const session of ['room', 'own']) await server.publish(session, { type: 'x', n: 2 })
    await revoked
    await expect.poll(() => heard).toContain('own 2')
    await expect.poll(() => connection.isOpen).toBe(true)
    expect(heard).not.toContain('room 2')
    expect(told.toSorted()).toEqual(['own resumed', 'room forbidden'])
    const { status } = await connection.send({ type: 'send', sessionId: 'own', prompt: 'still here' }).settled
    expect(status).toBe('accepted')
  },
)

test('C104: a client whose principal was revoked and is known no more stops, and says why', async () => {
  let isKnown = true
  const { server } = createTestServer({ authenticate: () => (isKnown ? { id: 'alice' } : null) })
  const site = await listen((request) => server.fetch(request))
  cleanups.push(site.close)
  const connection = createConnection({ url: site.url, backoff: { base: 5, cap: 5 } })
  cleanups.push(connection.dispose)
  const stopped = new Promise<string>((resolve) => connection.on('stopped', ({ error }) => resolve(error.code)))
  connection.connect()
  await expect.poll(() => connection.isOpen).toBe(true)
  isKnown = false
  await server.revoke('alice')
  expect(await stopped).toBe('unauthorized')
})
