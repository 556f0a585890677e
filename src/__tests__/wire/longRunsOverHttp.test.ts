import { createConnection } from 'holdline'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { createChatServer } from 'holdline/server'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { listen } from '../../../tools/shared/listen'
import { listenForSockets } from '../support/gateway'
import { answer, createTestServer, openStream, range, settle, until } from '../support/server'

const SOON = { timeout: 20_000, interval: 5 }

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Setup {
  readonly transport: 'SSE' | 'WebSocket'
  readonly sessionsPerStream?: number
}

async function start({ transport, sessionsPerStream = 10_000 }: Setup) {
  const endpoints: string[] = []
  const chat = createChatServer({
    limits: { sessionsPerStream },
    allowedHosts: 'any',
    authenticate: () => ({ id: 'me' }),
    authorize: () => true,
    onCommand: ({ publish, sessionId }) => publish(String(sessionId), { type: 'answer' }),
    onError() {},
  } as Parameters<typeof createChatServer>[0])
  const counted = (request: Request) => {
    endpoints.push(request.url.slice(request.url.lastIndexOf('/') + 1))
    return chat.fetch(request)
  }
  const host = await (transport === 'SSE' ? listen(counted) : listenForSockets(counted))
  const connection = createConnection({
    url: host.url,
    pageLifecycle: false,
    ...(transport === 'WebSocket' && { transport: webSocketTransport({ WebSocket }) }),
  })
  cleanups.push(
    () => host.close(),
    () => chat.close(),
    () => connection.dispose(),
  )
  const log: string[] = []
  connection.on('message', ({ sessionId }) => log.push(`${sessionId} answers`))
  connection.on('session', ({ sessionId, status }) => status !== 'resumed' && log.push(`${sessionId} ${status}`))
  connection.on('error', ({ error }) => log.push(error.code))
  const opens = () => vi.waitFor(() => expect(connection.phase).toBe('open'), SOON)
  connection.connect()
  await opens()
  return { connection, chat, log, endpoints, opens }
}

describe.each(['SSE', 'WebSocket'] as const)('over %s', (transport) => {
  test('C121: a session that is one too many for its stream is told, and the command is run all the same', async () => {
    const { connection, log } = await start({ transport, sessionsPerStream: 2 })
    const statuses: string[] = []
    for (const sessionId of ['s1', 's2', 's3']) {
      const { settled } = connection.send({ type: 'send', sessionId })
      statuses.push((await settled).status)
    }
    await vi.waitFor(() => expect(log).toContain('s3 forbidden'), SOON)
    expect(statuses).toEqual(['accepted', 'accepted', 'accepted'])
    expect([...log].sort()).toEqual(['s1 answers', 's2 answers', 's3 forbidden', 'too-many-sessions'])
  })

  test('C121: a watched session that is one too many is told once, and can be watched once there is room', async () => {
    const { connection, chat, log } = await start({ transport, sessionsPerStream: 1 })
    connection.watch('s1')
    connection.watch('s2')
    await vi.waitFor(() => expect(log).toContain('s2 forbidden'), SOON)
    expect(log.filter((entry) => entry === 's2 forbidden')).toHaveLength(1)
    expect(log).toContain('too-many-sessions')
    expect(connection.cursors.map(({ sessionId }) => sessionId)).toEqual(['s1'])
    connection.unwatch('s1')
    // Each in its turn: a watch overtakes.
    await settle()
    await vi.waitFor(async () => {
      connection.watch('s2')
      await chat.publish('s2', { type: 'answer' })
      expect(log).toContain('s2 answers')
    }, SOON)
  })

  test('C121: on a resume too, which tells of each that is one too many', async () => {
    const { connection, log, opens } = await start({ transport, sessionsPerStream: 2 })
    connection.disconnect()
    for (const n of range(1, 5)) connection.watch(`s${n}`)
    connection.connect()
    await opens()
    await vi.waitFor(() => expect(log.filter((entry) => entry === 'too-many-sessions')).toHaveLength(3), SOON)
    expect(log.filter((entry) => entry.endsWith(' forbidden'))).toHaveLength(3)
    expect(connection.cursors).toHaveLength(2)
  })

  test('C120: a send, and a watch, overtake 3,000 sessions that are unwatched, and none of those is posted on the next stream', async () => {
    const { connection, endpoints, opens } = await start({ transport })
    const before = endpoints.length
    for (const n of range(1, 3_000)) connection.unwatch(`s${n}`)
    connection.watch('new')
    const { settled } = connection.send({ type: 'send', sessionId: 'new' })
    expect((await settled).status).toBe('accepted')
    await vi.waitFor(() => expect(endpoints).toContain('watch'), SOON)
    const posted = endpoints.slice(before)
    for (const endpoint of ['send', 'watch']) expect(posted.indexOf(endpoint)).toBeLessThan(20)
    connection.reconnect()
    const cut = endpoints.length
    await opens()
    expect((await connection.send({ type: 'send', sessionId: 'new' }).settled).status).toBe('accepted')
    // One may have been on its way.
    expect(endpoints.slice(cut).filter((endpoint) => endpoint === 'unwatch').length).toBeLessThanOrEqual(1)
  })
})

describe('C121: the server half', () => {
  const SEND = { type: 'send' }

  test('says on the stream that a command could not attach its session, and answers a watch with why', async () => {
    const { server } = createTestServer({ limits: { sessionsPerStream: 1 } })
    const stream = await openStream(server)
    for (const sessionId of ['room1', 'room2'])
      expect((await stream.post('send', { ...SEND, sessionId })).status).toBe(200)
    await until(() => stream.frames.some(({ type }) => type === 'unattached'), 'the frame')
    const error = 'too-many-sessions'
    expect(stream.frames.filter(({ type }) => type === 'unattached')).toEqual([
      { type: 'unattached', sessions: [{ sessionId: 'room2', status: 'forbidden', error, from: 0, to: 0 }] },
    ])
    expect(await answer(stream.watch('room2'))).toEqual([403, { error }])
    expect(await answer(stream.watch('alien'))).toEqual([403, { error: 'forbidden' }])
  })
})
