import { expect, test, vi } from 'vitest'
import { type CommandCall, createChatServer, memoryLog } from '../../server'
import { answer, createTestServer, manualCommands, openStream, settle, until, watchedLog } from '../support/server'

const endpoints = { history: 'history', note: 'note' }

test('a query is answered without attaching the session, for whoever may read it, and creates nothing', async () => {
  const { log, calls } = watchedLog()
  const authorize = vi.fn(() => true)
  const { server } = createTestServer({
    log,
    endpoints,
    queries: ['history'],
    authorize,
    onCommand: ({ type, sessionId, principal }) => ({ type, sessionId, of: principal.id }),
  })
  const stream = await openStream(server)
  const asked = await answer(stream.post('history', { type: 'history', sessionId: 'room1' }, { key: 'q1' }))
  expect(asked).toEqual([200, { type: 'history', sessionId: 'room1', of: 'alice' }])
  expect(authorize.mock.calls).toEqual([[{ id: 'alice' }, 'room1', 'read']])
  expect(calls).toEqual([])
  await server.publish('room1', { type: 'x' })
  await settle()
  expect(stream.events).toEqual([])
  // Another of the same endpoints is a command.
  await stream.post('note', { type: 'note', sessionId: 'room1' })
  await server.publish('room1', { type: 'x' })
  await until(() => stream.events.length > 0, 'attached')
})

test('whoever may not read the session is answered 403, and an authorize that throws 500', async () => {
  const onCommand = vi.fn()
  const { server, errors } = createTestServer({
    endpoints,
    queries: ['history'],
    onCommand,
    authorize: (_, sessionId) => {
      if (sessionId === 'broken') throw new Error('down')
      return false
    },
  })
  const stream = await openStream(server)
  const ask = (sessionId: string) => answer(stream.post('history', { type: 'history', sessionId }))
  expect(await ask('room1')).toEqual([403, { error: 'forbidden' }])
  expect(await ask('broken')).toEqual([500, { error: 'internal' }])
  expect(String(errors)).toContain('down')
  expect(onCommand).not.toHaveBeenCalled()
})

test('a query does not wait for a command of its session, and a repeat is asked anew', async () => {
  const { onCommand: run, ...commands } = manualCommands()
  let count = 0
  const { server } = createTestServer({
    endpoints,
    queries: ['history'],
    onCommand: (call: CommandCall) => (call.type === 'history' ? { count: ++count } : run(call)),
  })
  const stream = await openStream(server)
  const slow = stream.post('send', { type: 'send', sessionId: 'room1' })
  await until(() => commands.calls.length === 1, 'begun')
  const lane = { headers: { 'X-Lane': 'asks' } }
  const ask = () => answer(stream.post('history', { type: 'history', sessionId: 'room1' }, { key: 'q1', ...lane }))
  expect([await ask(), await ask()]).toEqual([
    [200, { count: 1 }],
    [200, { count: 2 }],
  ])
  commands.endNext()
  expect((await slow).status).toBe(200)
})

test("a query that is none of the app's own types is refused at once", () => {
  const options = { authenticate: () => null, authorize: () => true, onCommand: () => null }
  expect(() => createChatServer({ ...options, queries: ['send'] })).toThrow(
    "'queries': 'send' must be a type of 'endpoints'",
  )
  expect(() => createChatServer({ ...options, queries: 'history' as never })).toThrow("'queries' must be an array")
})

test('head tells how far a session reaches, and reading creates nothing', async () => {
  const { server } = createTestServer()
  expect(await server.head('room1')).toEqual({ epoch: '', first: 1, head: 0 })
  const { epoch } = await server.publish('room1', { type: 'x' })
  expect(await server.head('room1')).toEqual({ epoch, first: 1, head: 1 })
  await expect(server.head('a b')).rejects.toThrow('head: the session id')
})

test('publish in a command tells whether the entry is one that an earlier try has appended', async () => {
  let tries = 0
  const repeats: unknown[] = []
  const { server } = createTestServer({
    log: memoryLog(),
    onCommand: async ({ publish }: CommandCall) => {
      tries += 1
      repeats.push((await publish('room1', { type: 'x' })).isRepeat)
      if (tries === 1) throw new Error('a crash')
    },
  })
  const stream = await openStream(server)
  const send = () => stream.post('send', { type: 'send', sessionId: 'room1' }, { key: 'm1' })
  expect([(await send()).status, (await send()).status]).toEqual([500, 200])
  expect(repeats).toEqual([undefined, true])
})
