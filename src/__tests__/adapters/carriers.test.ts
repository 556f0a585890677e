import { eventSourceTransport, fetchStreamTransport, type Transport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { StreamHandlers } from '../../adapters/eventSource'
import { openEventSource } from '../../adapters/eventSourceStream'
import { createUpstream } from '../../adapters/fetchUpstream'
import { answered, toHttpError } from '../../adapters/httpError'
import { packageEventSource } from '../../adapters/packageEventSource'
import { readRefusal } from '../../adapters/streamRefusal'
import type { TransportSetup } from '../../adapters/transport'
import { statusOf, toResponse, toStreamError } from '../../adapters/websocket/frames'
import type { ConnectionError } from '../../errors'
import type { Feature } from '../../protocol'
import { createClock, FakeStream, settle } from '../support/fakes'
import { FakeSocket, fakeSockets } from '../support/socket'

// Carriers without a machine, which would not listen to what comes too late.

afterEach(() => {
  vi.doUnmock('ws')
  vi.unstubAllGlobals()
  vi.resetModules()
})

const BASE = 'http://test/api'
const STREAM = { 'content-type': 'text/event-stream' }

function listen() {
  const heard: unknown[] = []
  const handlers: StreamHandlers = {
    open: () => heard.push('open'),
    welcome: (data) => heard.push(`welcome ${data}`),
    message: (data) => heard.push(`message ${data}`),
    sign: () => heard.push('sign'),
    error: (error) => heard.push(error),
  }
  return { heard, handlers, words: () => heard.map((one) => (one as ConnectionError).message ?? one) }
}

/** `attempt` 1: a first failure has been already. */
function carry(transport: Transport, more: Partial<TransportSetup> = {}, attempt = 0) {
  const clock = createClock()
  const carrier = transport({
    url: BASE,
    fetch: () => Promise.reject(new TypeError('fetch failed')),
    clock,
    context: () => ({ attempt, connectionId: null }),
    createEventSource: () => {
      throw new Error('not over this one')
    },
    ...more,
  })
  const { heard, handlers, words } = listen()
  return { carrier, clock, heard, words, open: () => carrier.open(handlers) }
}

/** A body in the hands of the test. */
function bodyOf() {
  const sinks: ReadableStreamDefaultController<Uint8Array>[] = []
  const body = new ReadableStream<Uint8Array>({ start: (sink) => void sinks.push(sink) })
  const [sink] = sinks as [ReadableStreamDefaultController<Uint8Array>]
  return { body, sink, says: (text: string) => sink.enqueue(new TextEncoder().encode(text)) }
}

describe('the carrier over an EventSource', () => {
  function overEventSource(attempt = 0, more: Partial<TransportSetup> = {}) {
    const source = Object.assign(new FakeStream(''), { readyState: 1 })
    return { source, ...carry(eventSourceTransport, { createEventSource: () => source, ...more }, attempt) }
  }

  test('C76: looks at its stream when it is asked to, and with each post; without a stream there is nothing to see', async () => {
    const { source, carrier, heard, open, words } = overEventSource(0, { fetch: async () => Response.json({}) })
    expect(() => carrier.check?.()).not.toThrow()
    const post = () => carrier.post('send', '{}', new AbortController())
    expect(await post()).toEqual({})
    open()
    source.opens()
    source.readyState = 2
    expect(heard).toEqual(['open'])
    await post()
    expect(words()).toEqual(['open', 'the stream was cut'])
    const other = overEventSource()
    other.open()
    other.source.opens()
    other.source.readyState = 2
    other.carrier.check?.()
    expect(other.words()).toEqual(['open', 'the stream was cut'])
  })

  test('tells nothing of a stream that was closed while the server was asked why it does not open', async () => {
    const fetch = (_: unknown, { signal }: RequestInit = {}) =>
      new Promise<Response>((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason))
      })
    const { source, heard, clock, open } = overEventSource(1, { fetch: fetch as typeof globalThis.fetch })
    const close = open()
    source.fails()
    await settle()
    close()
    await settle()
    expect([heard, clock.pending]).toEqual([[], 0])
  })

  test('tells one error, though the answer to why comes after the time for it', async () => {
    const { source, clock, words, open } = overEventSource(1, { fetch: () => new Promise(() => {}) })
    open()
    source.fails()
    await settle()
    await clock.advance(3_000)
    await settle()
    expect(words()).toEqual(['broken'])
  })
})

describe('one EventSource', () => {
  function opened(make = (source: FakeStream): FakeStream | Promise<FakeStream> => source, handlers = {}) {
    const source = new FakeStream(BASE)
    const told = listen()
    const all = { ...told.handlers, ...handlers }
    return { source, ...told, ...openEventSource(() => make(source), BASE, { withCredentials: false, fetch }, all) }
  }

  test('may begin with a message, and with one that has no data', () => {
    const { source, heard } = opened()
    source.dispatch('message')
    source.sends('a')
    expect(heard).toEqual(['message ', 'message a'])
  })

  test('that has opened and then fails was cut; one that has not opened says what may be the cause', () => {
    const late = opened()
    late.source.opens()
    late.source.dispatch('error')
    const early = opened()
    early.source.dispatch('error')
    expect([late.words(), early.words()]).toEqual([
      ['open', 'the stream was cut'],
      ['the stream did not open: no login, no server, another `url`, or CORS'],
    ])
  })

  test('fails with what a handler of its start throws', () => {
    const cause = new Error('no')
    const { source, heard } = opened(undefined, {
      open() {
        throw cause
      },
    })
    source.opens()
    expect([source.closed, heard]).toEqual([true, [expect.objectContaining({ message: 'Error: no', cause })]])
  })

  test('is not looked at before it is made', async () => {
    const { check, heard } = opened(async (source) => source)
    expect(() => check()).not.toThrow()
    await settle()
    expect(heard).toEqual([])
  })

  test('C103: from an opaque origin is redirected', () => {
    const { source, words } = opened()
    source.dispatch('welcome', { data: 'a', origin: 'null' })
    expect(words()).toEqual(['redirected to null'])
  })
})

describe('the carrier over fetch', () => {
  const overFetch = (answer: () => Response | Promise<Response>, more: Partial<TransportSetup> = {}) => {
    const requests: RequestInit[] = []
    const fetch = async (_: unknown, init: RequestInit = {}) => {
      requests.push(init)
      return answer()
    }
    return { requests, ...carry(fetchStreamTransport, { fetch: fetch as typeof globalThis.fetch, ...more }) }
  }

  test('asks as an EventSource does: past the cache', async () => {
    const { open, requests } = overFetch(() => new Response(null, { headers: STREAM }))
    open()
    await settle()
    expect(requests).toMatchObject([{ cache: 'no-store' }])
  })

  test('says that a fetch gives no body to read', async () => {
    const { open, heard } = overFetch(() => new Response(null, { headers: STREAM }))
    open()
    await settle()
    const message = 'this fetch gives no body to read: give one that streams'
    expect(heard).toEqual([expect.objectContaining({ code: 'stream-failed', message })])
  })

  test('says that a stream ended, and with what one was cut', async () => {
    const ends = bodyOf()
    const ended = overFetch(() => new Response(ends.body, { headers: STREAM }))
    ended.open()
    ends.sink.close()
    await settle()
    expect(ended.words()).toEqual(['open', 'the stream ended'])
    const cause = new Error('reset')
    const breaks = bodyOf()
    const broken = overFetch(() => new Response(breaks.body, { headers: STREAM }))
    broken.open()
    await settle()
    breaks.sink.error(cause)
    await settle()
    expect(broken.heard).toEqual(['open', expect.objectContaining({ message: 'the stream was cut', cause })])
  })

  test.each([undefined, { maxBytes: 20 }])('an event may have as many bytes as `inbound` says: %j', async (inbound) => {
    const { body, says } = bodyOf()
    const { open, words } = overFetch(() => new Response(body, { headers: STREAM }), inbound && { inbound })
    open()
    says('data: 1\n\n')
    await settle()
    says(`data: ${'x'.repeat(30)}`)
    await settle()
    expect(words()).toEqual([
      'open',
      'message 1',
      ...(inbound ? ['an event has more than 20 bytes (inbound.maxBytes)'] : []),
    ])
  })

  test('C21: closed before its answer comes, it tells nothing, though the fetch does not know signals', async () => {
    const { body, says } = bodyOf()
    let give = (_: Response) => {}
    const answer = new Promise<Response>((resolve) => {
      give = resolve
    })
    const { open, heard } = overFetch(() => answer)
    const close = open()
    await settle()
    close()
    says('data: late\n\n')
    give(new Response(body, { headers: STREAM }))
    await settle()
    expect(heard).toEqual([])
  })

  test('C21: closed before its answer fails, it tells nothing', async () => {
    let fail = (_: Error) => {}
    const answer = new Promise<Response>((_, reject) => {
      fail = reject
    })
    const { open, heard } = overFetch(() => answer)
    const close = open()
    await settle()
    close()
    fail(new TypeError('fetch failed'))
    await settle()
    expect(heard).toEqual([])
  })
})

describe('what goes over fetch', () => {
  const upstream = (fetch: (url: string, init: RequestInit) => Promise<Response>, more = {}) =>
    createUpstream({
      url: BASE,
      fetch: fetch as typeof globalThis.fetch,
      clock: createClock(),
      context: () => ({ attempt: 0, connectionId: null }),
      ...more,
    })

  test('an answer may have as many bytes as `inbound` says, by default enough for any', async () => {
    const post = (inbound: object) =>
      upstream(async () => Response.json({ text: '1234567890' }), inbound).post('send', '{}', new AbortController())
    expect(await post({})).toEqual({ text: '1234567890' })
    expect(await post({ inbound: { maxBytes: 22 } }).catch((error) => error.message)).toEqual({ text: '1234567890' })
    await expect(post({ inbound: { maxBytes: 10 } })).rejects.toThrow(
      'POST send: the answer has more than 10 bytes (inbound.maxBytes)',
    )
  })

  test('headers that throw are named, with the error as the cause', async () => {
    const cause = new Error('no token')
    const headers = () => Promise.reject(cause)
    const posting = upstream(async () => Response.json({}), { headers }).post('send', '{}', new AbortController())
    await expect(posting).rejects.toMatchObject({ message: 'headers threw, or gave no header map; see cause', cause })
  })

  test('a post that was aborted before it began ends at once, whatever its headers wait for', async () => {
    const abort = new AbortController()
    const reason = new Error('left')
    abort.abort(reason)
    const posting = upstream(async () => Response.json({}), { headers: () => new Promise(() => {}) })
    await expect(posting.post('send', '{}', abort)).rejects.toMatchObject({ code: 'network', cause: reason })
  })

  test('C21: a stream that was left while its headers were waited for is not asked for', async () => {
    let give = (_: object) => {}
    const headers = () =>
      new Promise((resolve) => {
        give = resolve
      })
    const asked: string[] = []
    const { streamFetch } = upstream(
      async (url) => {
        asked.push(url)
        return new Response(null)
      },
      { headers },
    )
    const abort = new AbortController()
    const reason = new Error('left')
    const streaming = streamFetch(`${BASE}/events`, { signal: abort.signal })
    abort.abort(reason)
    give({})
    await expect(streaming).rejects.toBe(reason)
    expect(asked).toEqual([])
  })

  const hidden = () =>
    ({
      type: 'opaqueredirect',
      status: 0,
      ok: false,
      redirected: false,
      headers: new Headers(),
      url: '',
      body: null,
    }) as Response

  test('C63: the question where a stream has moved to ends with the stream', async () => {
    const signals: unknown[] = []
    const { streamFetch } = upstream(async (_, { signal, credentials }) => {
      signals.push([credentials, signal])
      return hidden()
    })
    const { signal } = new AbortController()
    await expect(streamFetch(`${BASE}/events`, { signal })).rejects.toMatchObject({ code: 'redirected' })
    expect(signals[1]).toEqual(['omit', signal])
  })

  test('C103: a stream that is redirected to another origin says so', async () => {
    const headers = { location: 'http://login.test/?next=secret' }
    const { streamFetch } = upstream(async () => new Response(null, { status: 302, headers }))
    await expect(streamFetch(`${BASE}/events`, {})).rejects.toThrow(
      'GET events: redirected to http://login.test/; log in, or correct `url`',
    )
  })

  test('C63: a redirect that tells where to is followed anew each time: tomorrow it may lead elsewhere', async () => {
    const asked: string[] = []
    const { post } = upstream(async (url) => {
      asked.push(url)
      return url.endsWith('/')
        ? Response.json({})
        : new Response(null, { status: 307, headers: { location: `${url}/` } })
    })
    for (let n = 0; n < 2; n++) await post('send', '{}', new AbortController())
    expect(asked).toEqual([`${BASE}/send`, `${BASE}/send/`, `${BASE}/send`, `${BASE}/send/`])
  })

  test('C63: a fetch that has followed a redirect is not asked where to', async () => {
    const asked: string[] = []
    const { post } = upstream(async (url) => {
      asked.push(url)
      return Object.defineProperties(Response.json({}), { redirected: { value: true }, url: { value: `${url}/` } })
    })
    await post('send', '{}', new AbortController())
    expect(asked).toEqual([`${BASE}/send`])
  })
})

describe('a refusal', () => {
  test('says what the server says for itself, its word and its sentence, each 500 characters at most', () => {
    expect(answered(422, { error: 'too-long', message: 'at most 4,000 characters' })).toBe(
      'the server answered 422: too-long: at most 4,000 characters',
    )
    expect(answered(500, { error: 'x'.repeat(501) })).toBe(`the server answered 500: ${'x'.repeat(500)}`)
  })

  test('of a message has the server’s word: those that are codes here are the code', () => {
    expect(toHttpError(409, 'id-reused')).toMatchObject({
      code: 'id-reused',
      message: 'the server answered 409: id-reused',
    })
    expect(toHttpError(409, 'cancelled').code).toBe('cancelled')
    expect(toHttpError(400, 'network').code).toBe('http')
  })

  test('of a stream is read only if it is a 403: no other body is waited for', async () => {
    const json = { 'content-type': 'application/json' }
    const busy = await readRefusal(Response.json({ error: 'busy' }, { status: 503 }), 0)
    expect(busy).toMatchObject({ code: 'stream-failed', message: 'the server answered 503' })
    const never = await readRefusal(new Response(bodyOf().body, { status: 500, headers: json }), 0)
    expect(never).toMatchObject({ code: 'stream-failed', status: 500 })
    const blocked = await readRefusal(Response.json({ error: 'blocked' }, { status: 403 }), 0)
    expect(blocked).toMatchObject({
      code: 'forbidden',
      message: 'the server answered 403: blocked',
      reason: 'blocked',
    })
    const strange = await readRefusal(Response.json({ error: { why: 7 } }, { status: 403 }), 0)
    expect(strange).toMatchObject({ code: 'forbidden', reason: undefined })
  })
})

describe('the EventSource of the package', () => {
  const made = (answer: () => Promise<Response>, maxBytes?: number) => {
    const errors: { readonly cause?: ConnectionError; readonly message?: string }[] = []
    const source = packageEventSource(`${BASE}/events`, { withCredentials: false, fetch: answer, maxBytes })
    source.addEventListener('error', (event) => {
      errors.push(event as never)
      source.close()
    })
    return { source, errors }
  }
  const until = (check: () => void) => vi.waitFor(check, 5_000)

  test('tells with what a fetch has failed', async () => {
    const cause = new TypeError('fetch failed')
    const { errors } = made(() => Promise.reject(cause))
    await until(() => expect(errors.length).toBeGreaterThan(0))
    expect(errors[0]?.cause).toMatchObject({ code: 'stream-failed', message: 'TypeError: fetch failed', cause })
  })

  test('tells that an event is too long', async () => {
    const { body, says } = bodyOf()
    const { errors } = made(async () => new Response(body, { headers: STREAM }), 20)
    says(`data: ${'x'.repeat(30)}`)
    await until(() => expect(errors.length).toBeGreaterThan(0))
    expect(errors[0]?.cause?.message).toBe('an event has more than 20 bytes (inbound.maxBytes)')
  })

  test('takes an event of any usual length where no limit is given', async () => {
    const { body, says } = bodyOf()
    const { source, errors } = made(async () => new Response(body, { headers: STREAM }))
    const data: unknown[] = []
    source.addEventListener('message', (event) => data.push(event.data))
    says(`data: ${'x'.repeat(30)}\n\n`)
    await until(() => expect(data).toEqual(['x'.repeat(30)]))
    source.close()
    expect(errors).toEqual([])
  })

  test('that ends, or has no body, has the package’s own words, and no cause of ours', async () => {
    const { body, sink } = bodyOf()
    sink.close()
    for (const answer of [new Response(body, { headers: STREAM }), new Response(null, { headers: STREAM })]) {
      const { errors } = made(async () => answer)
      await until(() => expect(errors.length).toBeGreaterThan(0))
      expect(errors.map(({ cause }) => cause)).toEqual([undefined])
    }
  })
})

describe('the carrier over a WebSocket', () => {
  const ACKED: readonly Feature[] = ['receipts', 'idempotency']

  async function overSocket(features: readonly Feature[] = ACKED) {
    const { sockets, Made } = fakeSockets()
    const world = carry(webSocketTransport({ WebSocket: Made }))
    const close = world.open()
    await settle()
    const socket = sockets[0] as FakeSocket
    socket.opens()
    socket.welcomes(features)
    await settle()
    const post = (endpoint: string, body = '{}') => {
      const outcome = { value: undefined as unknown, isSettled: false }
      const take = (value: unknown) => Object.assign(outcome, { value, isSettled: true })
      world.carrier.post(endpoint, body, new AbortController()).then(take, take)
      return settle().then(() => outcome)
    }
    return { ...world, socket, close, post }
  }

  test('I8: once it was closed, it does not wait for a socket that is closing, and gives it nothing more', async () => {
    const { carrier, close, socket, clock, post } = await overSocket()
    close()
    carrier.check?.()
    expect(clock.pending).toBe(0)
    socket.readyState = 1
    const sent = socket.sent.length
    expect((await post('send')).value).toMatchObject({ cause: { message: 'no socket is open' } })
    expect([carrier.beacon('suspend', '{}'), socket.sent.length]).toEqual([false, sent])
  })

  test('that has not opened yet has nothing to look at', () => {
    const { carrier } = carry(webSocketTransport({ WebSocket: FakeSocket }))
    expect(() => carrier.check?.()).not.toThrow()
  })

  test('a marker is as good an answer to its resume as an `ack`, and is its receipt', async () => {
    const { socket, post } = await overSocket()
    const resume = await post('reconnect', '{"resumeId":"r1"}')
    const marker = { type: 'reconnected', resumeId: 'r1', sessions: [{ sessionId: 's', status: 'ok' }] }
    socket.says(marker)
    await settle()
    expect(resume).toMatchObject({ isSettled: true, value: marker })
  })

  test('a message that names a resume is no answer to it; nor is a marker to anything but a resume', async () => {
    const { socket, post } = await overSocket()
    const resume = await post('reconnect', '{"resumeId":"r1"}')
    const send = await post('send')
    socket.says({ type: 'token', resumeId: 'r1' })
    socket.says({ type: 'reconnected' })
    await settle()
    expect([resume.isSettled, send.isSettled]).toEqual([false, false])
    socket.says({ type: 'reconnected', resumeId: 'r1' })
    await settle()
    expect([resume.isSettled, send.isSettled]).toEqual([true, false])
  })

  test('a marker before any resume is a message', async () => {
    const { socket, words } = await overSocket()
    socket.says({ type: 'reconnected' })
    expect(words().at(-1)).toBe('message {"type":"reconnected"}')
  })

  test('a frame that is not answered has an empty receipt', async () => {
    const { post } = await overSocket([])
    expect(await post('send')).toEqual({ isSettled: true, value: null })
  })

  test('a welcome of another protocol is handed on', async () => {
    const { socket, words } = await overSocket()
    socket.says({ type: 'welcome', protocolVersion: 99 })
    expect(words().at(-1)).toBe('welcome {"type":"welcome","protocolVersion":99}')
  })

  test('1009 with nothing under way ends the stream like any other close', async () => {
    const { socket, words } = await overSocket()
    socket.shuts(1009)
    expect(words().at(-1)).toBe('the socket was closed: 1009')
  })

  test('a close before the welcome that says nothing is told with its code', async () => {
    const { sockets, Made } = fakeSockets()
    const { open, words } = carry(webSocketTransport({ WebSocket: Made }))
    open()
    await settle()
    sockets[0]?.shuts(1006)
    await settle()
    expect(words()).toEqual(['the socket was closed: 1006'])
  })

  test('a class of the app’s is told `inbound.maxBytes`; the platform’s own takes nothing but the URL', async () => {
    const made: unknown[][] = []
    class Made extends FakeSocket {
      constructor(...given: unknown[]) {
        super(String(given[0]))
        made.push(given)
      }
    }
    const inbound = { maxBytes: 100 }
    carry(webSocketTransport({ WebSocket: Made as never }), { inbound }).open()
    await settle()
    vi.stubGlobal('WebSocket', Made)
    carry(webSocketTransport(), { inbound }).open()
    await settle()
    expect(made).toEqual([['ws://test/api/socket', [], { maxPayload: 100 }], ['ws://test/api/socket']])
  })

  test('is not made if it was closed while the ws package was loaded', async () => {
    vi.stubGlobal('WebSocket', undefined)
    const { sockets, Made } = fakeSockets()
    let isLoaded = false
    vi.doMock('ws', () => {
      isLoaded = true
      return { WebSocket: Made }
    })
    const { open, heard } = carry(webSocketTransport())
    const close = open()
    await settle()
    close()
    await vi.waitUntil(() => isLoaded)
    await settle()
    expect([sockets, heard]).toEqual([[], []])
  })

  test('without a class it says why the package is none', async () => {
    vi.stubGlobal('WebSocket', undefined)
    vi.doMock('ws', () => {
      throw new Error('not installed')
    })
    const { open, heard } = carry(webSocketTransport())
    open()
    await vi.waitUntil(() => heard.length)
    expect(heard[0]).toMatchObject({ code: 'invalid-option', cause: expect.any(Error) })
  })
})

describe('what a close and an `ack` of a socket say', () => {
  test.each([
    [4_399, undefined],
    [4_400, 400],
    [4_599, 599],
    [4_600, undefined],
  ])('%i stands for the status %j', (code, status) => {
    expect(statusOf(code)).toBe(status)
  })

  test('an `ack` of 300 is no success', () => {
    expect([toResponse({ status: 299 }).ok, toResponse({ status: 300 }).ok]).toEqual([true, false])
  })

  test('a close is told with its code, one that asks to wait with a second, if it says no other time', () => {
    expect(toStreamError(1006)).toMatchObject({ message: 'the socket was closed: 1006', retryAfter: undefined })
    expect(toStreamError(1013)).toMatchObject({ retryAfter: 1_000 })
    expect(toStreamError(1013, '20000')).toMatchObject({ retryAfter: 20_000 })
  })
})
