import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { serve } from '@hono/node-server'
import { afterEach, describe, expect, test } from 'vitest'
import { createChatServer } from '../../server'
import { createTestServer, fakeClock, getEvents, openStalledStream, openStream, range, until } from '../support/server'

const PROBE = { type: 'probe', nonce: 'n' }
const HEARTBEAT = 8_000

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

describe('C92: one stream more than a principal may have', () => {
  test('takes the place of one that does not read: the longest, whatever the others say', async () => {
    const metrics: string[] = []
    const { server, clock } = createTestServer({
      heartbeat: 60_000,
      limits: { streamsPerPrincipal: 4, stall: 10_000 },
      onMetric: ({ name }) => metrics.push(name),
    })
    const reader = await openStream(server)
    const frozen = await openStalledStream(server)
    await clock.advance(5_000)
    const later = await openStalledStream(server)
    const quiet = await openStream(server)
    await clock.advance(5_000)
    const newcomer = await openStream(server)
    expect((await frozen.post('probe', PROBE)).status).toBe(404)
    for (const { post } of [reader, later, quiet, newcomer]) expect((await post('probe', PROBE)).status).toBe(200)
    // A goodbye would wait for somebody to read it.
    await expect(frozen.read()).rejects.toThrow('stopped reading')
    expect(metrics.filter((name) => name === 'evictions')).toHaveLength(1)
  })

  test('takes the place of the longest silent, if all of them seem to read: buffers read for a page that is frozen', async () => {
    const { server, clock } = createTestServer({ limits: { streamsPerPrincipal: 3 } })
    const streams = []
    for (const _ of range(1, 3)) {
      streams.push(await openStream(server))
      await clock.advance(1_000)
    }
    const [first, second, third] = streams
    await clock.advance(2 * HEARTBEAT)
    expect((await first?.post('probe', PROBE))?.status).toBe(200)
    const newcomer = await openStream(server)
    await until(() => second?.ending === 'ended', 'the end of the second')
    expect(second?.frames.at(-1)).toEqual({ type: 'goodbye', retryAfter: 5_000 })
    for (const stream of [first, third, newcomer]) expect((await stream?.post('probe', PROBE))?.status).toBe(200)
    expect((await second?.post('probe', PROBE))?.status).toBe(404)
  })

  test('is told 429 as long as each of them was heard of in the last two heartbeats', async () => {
    const { server, clock } = createTestServer({ limits: { streamsPerPrincipal: 2 } })
    const streams = [await openStream(server), await openStream(server)]
    for (const _ of range(1, 5)) {
      await clock.advance(2 * HEARTBEAT - 1)
      expect((await getEvents(server)).status).toBe(429)
      for (const { post } of streams) await post('probe', PROBE)
    }
    expect(streams.map(({ ending }) => ending)).toEqual(['open', 'open'])
  })

  test('of somebody else is no sign of life, and takes nobody else’s place', async () => {
    const { server, clock } = createTestServer({ limits: { streamsPerPrincipal: 1 } })
    const alice = await openStream(server)
    await clock.advance(2 * HEARTBEAT)
    const bob = await openStream(server, 'bob')
    await bob.post('probe', PROBE, { connectionId: alice.connectionId })
    expect(alice.ending).toBe('open')
    await openStream(server)
    await until(() => alice.ending === 'ended', 'the end of the silent one')
    expect(bob.ending).toBe('open')
  })

  test('readers that say nothing do not take turns in evicting each other: the patience doubles', async () => {
    const metrics: string[] = []
    const { server, clock } = createTestServer({
      limits: { streamsPerPrincipal: 20 },
      onMetric: ({ name }) => metrics.push(name),
    })
    let streams = []
    for (const _ of range(1, 20)) streams.push(await openStream(server))
    // 21 that read: one is always out, and comes back every 5 s.
    for (const _ of range(1, 720)) {
      await clock.advance(5_000)
      if ((await getEventsAndRead(server)) === 200) streams = streams.filter(({ ending }) => ending === 'open')
    }
    const evictions = metrics.filter((name) => name === 'evictions').length
    expect(evictions).toBeGreaterThan(1)
    expect(evictions).toBeLessThan(12)
  })

  async function getEventsAndRead(server: Parameters<typeof getEvents>[0]) {
    const { status, body } = await getEvents(server)
    const reader = body?.getReader()
    void (async () => {
      while (reader && !(await reader.read()).done) {}
    })().catch(() => {})
    return status
  }

  test('is let in within seconds where twenty real sockets do not read', async () => {
    const clock = fakeClock()
    const chat = createChatServer({
      authenticate: () => ({ id: 'alice' }),
      authorize: () => true,
      onCommand: () => null,
      clock,
    })
    const http = serve({ fetch: chat.fetch, port: 0, hostname: '127.0.0.1' })
    await once(http, 'listening')
    const { port } = http.address() as AddressInfo
    cleanups.push(async () => {
      await chat.close()
      await new Promise((resolve) => http.close(resolve))
    })
    const sockets = range(1, 20).map(() => {
      const socket = connect(port, '127.0.0.1').pause()
      cleanups.push(() => socket.destroy())
      socket.write('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
      return socket
    })
    // Each stream has its timer.
    await until(() => clock.timers === sockets.length, 'twenty streams')
    const status = async () => {
      const controller = new AbortController()
      const response = await fetch(`http://127.0.0.1:${port}/events`, { signal: controller.signal })
      cleanups.push(() => controller.abort())
      return response.status
    }
    expect(await status()).toBe(429)
    for (const _ of range(1, 2)) await clock.advance(HEARTBEAT)
    expect(await status()).toBe(200)
    // It still hears, late: the goodbye is in a buffer.
    let text = ''
    sockets[0]?.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    sockets[0]?.resume()
    await until(() => text.includes('"goodbye"'), 'the goodbye')
  })
})
