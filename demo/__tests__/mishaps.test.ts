import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Mishaps } from '../mishaps'

const WELCOME = 'event: welcome\ndata: {"connectionId":"c1"}\n\n'
const PING = 'data: {"type":"ping"}\n\n'
const LATE = 5_000
const AWAY = 2_000

let mishaps: Mishaps
let pulls: number
let cancelled: boolean
let hungUp: number
let write: (text: string) => void
let finish: () => void

beforeEach(() => {
  mishaps = new Mishaps({ lateMs: LATE, awayMs: AWAY })
  pulls = 0
  cancelled = false
  hungUp = 0
})
afterEach(() => void vi.useRealTimers())

const request = (endpoint: string) => new Request(`http://chat.test/api/chat/${endpoint}`)

function serverStream(): Response {
  const waiting: (() => void)[] = []
  const chunks: string[] = [WELCOME]
  let isOver = false
  write = (text) => {
    chunks.push(text)
    waiting.shift()?.()
  }
  finish = () => {
    isOver = true
    waiting.shift()?.()
  }
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        pulls += 1
        if (chunks.length === 0 && !isOver) await new Promise<void>((resolve) => waiting.push(resolve))
        const chunk = chunks.shift()
        if (chunk === undefined) controller.close()
        else controller.enqueue(new TextEncoder().encode(chunk))
      },
      cancel: () => {
        cancelled = true
      },
    },
    { highWaterMark: 0 },
  )
  return new Response(body, { headers: { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' } })
}

const hungUpOnce = () => {
  hungUp += 1
}

async function openStream(clientId = 'p1') {
  const response = await mishaps.pass({
    clientId,
    request: request('events'),
    next: async () => serverStream(),
    hangUp: hungUpOnce,
  })
  const reader = response.body?.getReader()
  if (!reader) throw new Error('no body')
  const read = async () => {
    const { value } = await reader.read()
    return value && new TextDecoder().decode(value)
  }
  return { response, reader, read }
}

const resume = (clientId = 'p1', next = async () => Response.json({ ok: true })) =>
  mishaps.pass({ clientId, request: request('reconnect'), next, hangUp: () => {} })

/** Nothing has arrived, however often the event loop turns. */
async function expectNothing(reading: Promise<unknown>) {
  const nothing = Symbol()
  const turns = async () => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    return nothing
  }
  expect(await Promise.race([reading, turns()])).toBe(nothing)
}

test('without a mishap everything passes, headers too', async () => {
  const { response, read } = await openStream()
  expect(response.headers.get('X-Accel-Buffering')).toBe('no')
  expect(await read()).toBe(WELCOME)
  write(PING)
  expect(await read()).toBe(PING)
  finish()
  expect(await read()).toBeUndefined()
  expect((await resume()).status).toBe(200)
})

test('the server is asked for no more than the client reads', async () => {
  const { read } = await openStream()
  expect(pulls).toBe(0)
  await read()
  expect(pulls).toBe(1)
})

test('a client that leaves takes the server’s stream along', async () => {
  const { reader } = await openStream()
  await reader.cancel()
  expect(cancelled).toBe(true)
})

test('drop hangs up, and nothing comes any more', async () => {
  const { read } = await openStream()
  await read()
  const reading = read()
  expect(mishaps.cause('drop', 'p1')).toBe(1)
  expect(hungUp).toBe(1)
  expect(cancelled).toBe(true)
  await expectNothing(reading)
  expect(mishaps.cause('drop', 'p1')).toBe(0)
})

test('a client whose stream is dropped gets nothing through for a while, as on a lost network', async () => {
  vi.useFakeTimers()
  await openStream('p1')
  await openStream('p2')
  mishaps.cause('drop', 'p1')
  const reached = vi.fn(async () => Response.json({ ok: true }))
  const ask = (clientId: string, endpoint: string) =>
    mishaps.pass({ clientId, request: request(endpoint), next: reached, hangUp: hungUpOnce })
  hungUp = 0
  for (const endpoint of ['events', 'send', 'reconnect']) expect((await ask('p1', endpoint)).status).toBe(503)
  expect(hungUp).toBe(3)
  expect(reached).not.toHaveBeenCalled()
  expect((await ask('p2', 'send')).status).toBe(200)
  vi.advanceTimersByTime(AWAY)
  expect((await ask('p1', 'send')).status).toBe(200)
  expect(hungUp).toBe(3)
})

test('a drop that hits no stream keeps nobody away', async () => {
  expect(mishaps.cause('drop', 'p1')).toBe(0)
  expect((await resume('p1')).status).toBe(200)
})

test('a server that dies is away for everybody, and comes back', async () => {
  vi.useFakeTimers()
  await openStream('p1')
  mishaps.dropAll()
  expect((await resume('p1')).status).toBe(503)
  expect((await resume('p2')).status).toBe(503)
  vi.advanceTimersByTime(AWAY)
  expect((await resume('p2')).status).toBe(200)
})

test('C04: the second welcome is the first one again, at once', async () => {
  const { read } = await openStream()
  await read()
  const reading = read()
  mishaps.cause('second-welcome', 'p1')
  expect(await reading).toBe(WELCOME)
  write(PING)
  expect(await read()).toBe(PING)
})

test('C22: a silent stream stays open, and not even a ping comes', async () => {
  const { read, reader } = await openStream()
  await read()
  mishaps.cause('silence', 'p1')
  const reading = read()
  write(PING)
  await expectNothing(reading)
  expect(hungUp).toBe(0)
  await reader.cancel()
  expect(cancelled).toBe(true)
})

test('C05: one resume fails, the next one does not', async () => {
  const { read } = await openStream()
  await read()
  mishaps.cause('fail-resume', 'p1')
  expect(hungUp).toBe(1)
  const reached = vi.fn(async () => Response.json({ ok: true }))
  expect((await resume('p1', reached)).status).toBe(500)
  expect(reached).not.toHaveBeenCalled()
  expect((await resume('p1', reached)).status).toBe(200)
})

test('C10: a late resume reaches the server at once, its answer is what is late', async () => {
  vi.useFakeTimers()
  mishaps.cause('late-resume', 'p1')
  const reached = vi.fn(async () => Response.json({ ok: true }))
  const answered = vi.fn()
  const answering = resume('p1', reached).then(answered)
  expect(reached).toHaveBeenCalledOnce()
  await vi.advanceTimersByTimeAsync(LATE - 1)
  expect(answered).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(1)
  await answering
  expect(answered).toHaveBeenCalledOnce()
})

test('C111: a client is remembered as long as it has a stream, or a mishap that waits for it', async () => {
  for (let n = 0; n < 100; n += 1) await resume(`stranger ${n}`)
  const refused = async () => new Response(null, { status: 401 })
  await mishaps.pass({ clientId: 'stranger', request: request('events'), next: refused, hangUp: () => {} })
  mishaps.cause('drop', 'stranger')
  expect(mishaps.size).toBe(0)

  const { read, reader } = await openStream()
  await read()
  expect(mishaps.size).toBe(1)
  await reader.cancel()
  expect(mishaps.size).toBe(0)

  mishaps.cause('fail-resume', 'p1')
  expect(mishaps.size).toBe(1)
  expect((await resume()).status).toBe(500)
  expect(mishaps.size).toBe(0)

  for (let n = 0; n < 2_000; n += 1) mishaps.cause('late-resume', `visitor ${n}`)
  expect(mishaps.size).toBe(1_000)
})

test('a mishap happens to its own client only, a dying server to all of them', async () => {
  await openStream('p1')
  await openStream('p2')
  mishaps.cause('fail-resume', 'p1')
  expect(hungUp).toBe(1)
  expect((await resume('p2')).status).toBe(200)
  mishaps.dropAll()
  expect(hungUp).toBe(2)
})
