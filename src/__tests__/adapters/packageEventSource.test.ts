import { createConnection } from 'holdline'
import { afterEach, describe, expect, test } from 'vitest'
import { type Handler, listen } from '../../../tools/shared/listen'
import { fakeClock } from '../../testing/harness/fakeClock'

const STREAM = { 'content-type': 'text/event-stream' }
const WELCOME = `event: welcome\ndata: ${JSON.stringify({ type: 'welcome', protocolVersion: 2, connectionId: 'c1' })}\n\n`
/** It says this, and then nothing any more. */
const says = (...chunks: readonly string[]) =>
  new ReadableStream({
    async start(sink) {
      for (const chunk of chunks) {
        sink.enqueue(new TextEncoder().encode(chunk))
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    },
  })

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function connected(handler: Handler, more: object = {}) {
  const host = await listen(handler)
  const connection = createConnection({ url: host.url, headers: {}, backoff: { base: 1, cap: 1 }, ...more })
  cleanups.push(host.close, connection.dispose)
  connection.connect()
  return connection
}

describe('the eventsource package', () => {
  test('C73: hears a welcome and events whose lines end in CR, and then silence', async () => {
    const welcome = WELCOME.replaceAll('\n', '\r')
    const connection = await connected(
      () => new Response(says(welcome, 'data: {"type":"a"}\r', '\r', 'data: {"type":"b"}\r\n\r'), { headers: STREAM }),
    )
    const types: unknown[] = []
    connection.on('message', ({ type }) => types.push(type))
    await expect.poll(() => types).toEqual(['a', 'b'])
    expect(connection.isOpen).toBe(true)
  })

  test('C69: reads the media type whatever its case', async () => {
    const headers = { 'content-type': 'Text/Event-Stream; Charset=utf-8' }
    const connection = await connected(() => new Response(says(WELCOME), { headers }))
    await expect.poll(() => connection.isOpen).toBe(true)
    expect(connection.attempt).toBe(0)
  })

  test('C72: tells what it was refused with: the word, and how long to wait', async () => {
    const blocked = await connected(() => Response.json({ error: 'blocked' }, { status: 403 }))
    await expect.poll(() => blocked.phase).toBe('idle')
    expect(blocked.lastError).toMatchObject({ code: 'forbidden', status: 403, cause: 'blocked' })
    const full = await connected(() => new Response(null, { status: 429, headers: { 'Retry-After': '60' } }))
    await expect.poll(() => full.phase).toBe('backoff')
    expect(full.lastError).toMatchObject({ code: 'stream-failed', status: 429, retryAfter: 60_000 })
  })

  test('C69: a refusal is JSON only where its media type says so', async () => {
    const headers = { 'content-type': 'application/json-seq' }
    const connection = await connected(() => new Response('{"error":"blocked"}', { status: 403, headers }), {
      backoff: { base: 60_000, cap: 60_000 },
      random: () => 0.9,
    })
    await expect.poll(() => connection.phase).toBe('backoff')
    expect(connection.lastError).toMatchObject({ code: 'forbidden', retryable: true, cause: undefined })
  })

  test('C66: a date in Retry-After is read against the clock that was given', async () => {
    const clock = fakeClock(Date.UTC(2023, 10, 14, 22, 13, 20))
    const headers = { 'Retry-After': 'Tue, 14 Nov 2023 22:13:30 GMT' }
    const fetch = async () => new Response(null, { status: 503, headers })
    const connection = createConnection({ url: 'http://test/api/chat', headers: {}, fetch, clock })
    cleanups.push(connection.dispose)
    connection.connect()
    await expect.poll(() => connection.phase).toBe('backoff')
    expect(connection.lastError).toMatchObject({ status: 503, retryAfter: 10_000 })
  })

  test('C76: a fetch that rejects with an AbortError of its own is an error like any other', async () => {
    let asked = 0
    const connection = await connected(() => new Response(null), {
      fetch: async () => {
        asked++
        throw new DOMException('the app has given up', 'AbortError')
      },
    })
    await expect.poll(() => asked).toBeGreaterThan(2)
    expect(connection.lastError).toMatchObject({ code: 'stream-failed', message: expect.stringContaining('given up') })
  })

  test('a hook that fails is told as that', async () => {
    const connection = await connected(() => new Response(null), {
      headers: () => Promise.reject(new Error('no token')),
    })
    await expect.poll(() => connection.phase).toBe('backoff')
    expect(connection.lastError?.code).toBe('hook-failed')
  })
})
