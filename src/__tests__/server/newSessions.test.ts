import { describe, expect, test } from 'vitest'
import { createTestServer, openStream, range } from '../support/server'

/** Sessions that a principal's commands begin would fill the log, and push out what others said. */
describe('C101: the sessions that the commands of one principal begin', () => {
  const HOUR = 3_600_000
  function setUp() {
    let ran = 0
    const chat = createTestServer({
      limits: { newSessions: 10 },
      authorize: () => true,
      async onCommand({ sessionId = '', publish }) {
        ran += 1
        await publish(sessionId, { type: 'said' })
      },
    })
    return { ...chat, ran: () => ran }
  }
  const send = (stream: Awaited<ReturnType<typeof openStream>>, sessionId: string) =>
    stream.post('send', { type: 'send', sessionId })

  test('have a bound: beyond it a command is told to come back, and is not run', async () => {
    const { server, ran } = setUp()
    const stream = await openStream(server)
    for (const n of range(1, 10)) expect((await send(stream, `s${n}`)).status).toBe(200)
    const refused = await send(stream, 's11')
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('Retry-After'))).toBeCloseTo(HOUR / 10 / 1_000, -1)
    expect(ran()).toBe(10)
  })

  test('are bounded also where they were watched, or resumed, before there was anything in them', async () => {
    const { server, ran } = setUp()
    const stream = await openStream(server)
    const sessions = range(1, 20).map((n) => ({ sessionId: `s${n}`, lastSeq: 0 }))
    await stream.post('reconnect', { type: 'reconnect', resumeId: 'r', sessions })
    const statuses = []
    for (const n of range(1, 20)) statuses.push((await send(stream, `s${n}`)).status)
    expect(statuses).toEqual([...range(1, 10).map(() => 200), ...range(1, 10).map(() => 429)])
    expect(ran()).toBe(10)
    await server.publish('s20', { type: 'said' })
    expect((await send(stream, 's20')).status).toBe(200)
  })

  test('count once on a stream, though none of their commands says anything', async () => {
    const { server } = createTestServer({ limits: { newSessions: 10 }, authorize: () => true, onCommand: () => null })
    const stream = await openStream(server)
    await stream.watch('watched')
    for (const sessionId of ['watched', 'joined'])
      for (const _ of range(1, 30)) expect((await send(stream, sessionId)).status).toBe(200)
  })

  test('are not those that there are, nor those of another principal', async () => {
    const { server } = setUp()
    for (const n of range(1, 30)) await server.publish(`old${n}`, { type: 'said' })
    const stream = await openStream(server)
    for (const n of range(1, 30)) expect((await send(stream, `old${n}`)).status).toBe(200)
    for (const n of range(1, 12)) await send(stream, `s${n}`)
    expect((await send(stream, 's1')).status).toBe(200)
    const other = await openStream(server, 'bob')
    expect((await send(other, 'bobs')).status).toBe(200)
  })

  test('come back with the time, over however many streams they were begun', async () => {
    const { server, clock } = setUp()
    for (const n of range(1, 10)) {
      const stream = await openStream(server)
      expect((await send(stream, `s${n}`)).status).toBe(200)
      await stream.cancel()
    }
    const stream = await openStream(server)
    expect((await send(stream, 'next')).status).toBe(429)
    await clock.advance(HOUR / 10)
    const again = await openStream(server)
    expect((await send(again, 'next')).status).toBe(200)
    expect((await send(again, 'after')).status).toBe(429)
  })
})
