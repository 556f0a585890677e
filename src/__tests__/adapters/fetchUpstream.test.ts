import { getEventListeners } from 'node:events'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { HeadersHook } from '../../adapters/credentials'
import { createUpstream, type PostOptions } from '../../adapters/fetchUpstream'
import { toHttpError } from '../../adapters/httpError'
import { ConnectionError } from '../../errors'
import { fakeClock } from '../../testing/harness/fakeClock'
import { settle } from '../support/fakes'

afterEach(() => vi.unstubAllGlobals())

const BASE = 'http://test/api'
const OK = () => Response.json({ ok: true })
const UNAUTHORIZED = () => new Response(null, { status: 401 })
const BUSY = () => new Response(null, { status: 503 })
const NEVER = () => new Promise<never>(() => {})
/** The headers of an answer come, its body never does. */
const half = (status: number, type: string) => () =>
  new Response(new ReadableStream(), { status, headers: { 'content-type': type } })
const cut = () =>
  new Response(new ReadableStream({ pull: (controller) => controller.error(new Error('cut')) }), { status: 200 })

type Answer = () => Response | Promise<Response>
type HeadersOption = HeadersHook | Readonly<Record<string, string>>

/** A server that gives one answer after the other, and the last one from then on. */
function createServer(
  answers: readonly [Answer, ...Answer[]],
  headers?: HeadersOption,
  connectionId: string | null = 'c1',
) {
  const clock = fakeClock()
  const asked: string[] = []
  const requests: { readonly url: string; readonly init: RequestInit; readonly headers: Headers }[] = []
  const hook: HeadersHook = (request) => {
    asked.push(`${request.reason} ${request.attempt}`)
    return (headers as HeadersHook)(request)
  }
  const upstream = createUpstream({
    url: BASE,
    fetch: async (url, init = {}) => {
      const answer = answers[requests.length] ?? (answers.at(-1) as Answer)
      requests.push({ url: String(url), init, headers: new Headers(init.headers) })
      return answer()
    },
    ...(headers && { headers: typeof headers === 'function' ? hook : headers }),
    credentials: 'include',
    clock,
    context: () => ({ attempt: 3, connectionId }),
  })
  const post = (options?: PostOptions, abort = new AbortController()) => {
    const outcome = { value: undefined as unknown, error: undefined as unknown, settled: false }
    upstream.post('send', '{"a":1}', abort, options).then(
      (value) => Object.assign(outcome, { value, settled: true }),
      (error) => Object.assign(outcome, { error, settled: true }),
    )
    return settle().then(() => outcome)
  }
  return { ...upstream, post, clock, asked, requests }
}

const TOKEN: HeadersHook = ({ reason }) => ({ authorization: reason === 'unauthorized' ? 'new' : 'old' })

/** A hook whose answers to a 401 are the test's. */
function slowHook() {
  const answers: { readonly give: (token: string) => void; readonly fail: (cause: unknown) => void }[] = []
  const hook: HeadersHook = ({ reason }) =>
    reason === 'unauthorized'
      ? new Promise((resolve, reject) => {
          answers.push({ give: (authorization) => resolve({ authorization }), fail: reject })
        })
      : { authorization: 'old' }
  return { hook, answers }
}

describe('a POST', () => {
  test('carries what the server needs to know', async () => {
    const { post, requests } = createServer([OK], { 'x-tenant': 'acme' })
    const abort = new AbortController()
    await post({ idempotencyKey: 'k1' }, abort)
    expect(requests).toHaveLength(1)
    expect(requests[0]).toMatchObject({
      url: `${BASE}/send`,
      init: { method: 'POST', body: '{"a":1}', credentials: 'include', redirect: 'manual', signal: abort.signal },
    })
    expect(Object.fromEntries(requests[0]?.headers ?? [])).toEqual({
      'content-type': 'application/json',
      'idempotency-key': 'k1',
      'x-connection-id': 'c1',
      'x-tenant': 'acme',
    })
  })

  test('without an id, on no stream, of a page that goes: says nothing that is not so', async () => {
    const { post, requests } = createServer([OK], undefined, null)
    await post({ keepalive: true })
    expect(Object.fromEntries(requests[0]?.headers ?? [])).toEqual({ 'content-type': 'application/json' })
    expect(requests[0]?.init.keepalive).toBe(true)
  })

  test.each<[string, PostOptions['receipt'], Answer, object]>([
    ['JSON', undefined, OK, { value: { ok: true } }],
    ['nothing', undefined, () => new Response(''), { value: null }],
    ['nothing, where a receipt is due', 'required', () => new Response(''), { value: undefined, error: undefined }],
    ['nothing, where none is', 'none', () => new Response(''), { value: null }],
    ['no JSON', undefined, () => new Response('fine'), { value: undefined, error: undefined }],
    ['half a body', undefined, cut, { error: { code: 'network', cause: { message: 'cut' } } }],
    ['half a body, where a receipt is due', 'required', cut, { error: { code: 'network' } }],
    ['half a body, where none is', 'none', cut, { value: null, error: undefined }],
  ])('that is answered 2xx with %s', async (_, receipt, answer, outcome) => {
    const { post } = createServer([answer])
    expect(await post(receipt ? { receipt } : {})).toMatchObject({ settled: true, ...outcome })
  })

  test.each([undefined, 'required', 'none', 'ifAnnounced'] as const)(
    'C27: HTML is an answer of somebody else (receipt: %s)',
    async (receipt) => {
      const { post } = createServer([
        () => new Response('<p>log in', { headers: { 'content-type': 'text/html; charset=utf-8' } }),
      ])
      const { error } = await post(receipt ? { receipt } : {})
      const message = 'POST send (text/html; charset=utf-8): the server answered 200, 9 characters, no JSON'
      expect(error).toMatchObject({ code: 'bad-response', message })
    },
  )

  test.each(['Text/HTML', 'TEXT/HTML; Charset=UTF-8', 'application/xhtml+xml', ' text/html ;x=1'])(
    'C69: %s is HTML in any case and with any parameters',
    async (type) => {
      const { post } = createServer([() => new Response('<p>log in', { headers: { 'content-type': type } })])
      expect((await post({ receipt: 'none' })).error).toMatchObject({ code: 'bad-response' })
    },
  )

  describe('C116: an answer that promised JSON and has none is a failure', () => {
    const promising = (body: string | null, headers: Record<string, string> = {}, status = 200) =>
      createServer([() => new Response(body, { status, headers: { 'content-type': 'Application/JSON', ...headers } })])

    test.each(['', '{"ok":', '{"results":[{"id":'])('cut off after %j, as WebKit tells it', async (body) => {
      for (const receipt of ['ifAnnounced', 'required'] as const) {
        expect((await promising(body).post({ receipt })).error).toMatchObject({
          code: 'bad-response',
          retryable: true,
          message: `POST send (Application/JSON): the server answered 200, ${body.length} characters, no JSON`,
        })
      }
    })

    test('not to a message where no receipt was announced: its 2xx has been seen, and a repeat may be applied twice', async () => {
      expect(await promising('{"ok":').post({ receipt: 'none' })).toMatchObject({ value: null, error: undefined })
    })

    test('nor if it says itself that it is empty', async () => {
      expect(await promising('', { 'content-length': '0' }).post()).toMatchObject({ value: null, error: undefined })
      expect(await promising(null, {}, 204).post()).toMatchObject({ value: null, error: undefined })
    })
  })

  test('is answered by JSON whatever its server calls it', async () => {
    const { post } = createServer([() => new Response('{"ok":true}', { headers: { 'content-type': 'text/html' } })])
    expect((await post()).value).toEqual({ ok: true })
  })

  test('that reaches nobody says where to, and why', async () => {
    const cause = new TypeError('fetch failed')
    const { post } = createServer([() => Promise.reject(cause)])
    expect((await post()).error).toMatchObject({
      code: 'network',
      message: 'POST send: TypeError: fetch failed',
      cause,
    })
  })

  test('C20: without an answer in time is ended, and says which; its timer ends with it', async () => {
    const { post, clock } = createServer([NEVER])
    const abort = new AbortController()
    const outcome = await post({ timeout: 1_000 }, abort)
    clock.advance(999)
    await settle()
    expect([outcome.settled, abort.signal.aborted]).toEqual([false, false])
    clock.advance(1)
    await settle()
    expect(outcome.error).toMatchObject({ code: 'timeout', message: 'POST send: no answer within 1000 ms' })
    expect(abort.signal.aborted).toBe(true)
  })

  test('I8: leaves no timer and no listener behind, however it ended', async () => {
    for (const answer of [OK, BUSY, UNAUTHORIZED, cut, () => Promise.reject(new Error('down'))]) {
      const { post, clock } = createServer([answer], TOKEN)
      const abort = new AbortController()
      const added = vi.spyOn(abort.signal, 'addEventListener')
      const removed = vi.spyOn(abort.signal, 'removeEventListener')
      expect(await post({ timeout: 1_000 }, abort)).toMatchObject({ settled: true })
      expect(clock.pending).toEqual([])
      // But for the `onabort` of its own signal, which goes with it.
      expect(getEventListeners(abort.signal, 'abort').map(({ name }) => name)).toEqual(['eventHandler'])
      expect(added.mock.calls.length).toBe(removed.mock.calls.length + 1)
    }
  })

  test('C117: says that its time is up, whatever reason the engine gives for the abort', async () => {
    const ownReason = new DOMException('Fetch is aborted', 'AbortError')
    const { post, clock } = createServer([NEVER])
    const abort = new AbortController()
    Object.defineProperty(abort.signal, 'reason', { value: ownReason })
    const outcome = await post({ timeout: 1_000 }, abort)
    clock.advance(1_000)
    await settle()
    expect(outcome.error).toMatchObject({ code: 'timeout', message: 'POST send: no answer within 1000 ms' })
  })

  test('without a timeout has no timer', async () => {
    const { post, clock } = createServer([NEVER])
    await post()
    expect(clock.pending).toEqual([])
  })

  test('that is given up ends at once with what it was given up for, whatever hangs', async () => {
    const reason = new ConnectionError('cancelled', 'why')
    for (const [answer, headers] of [
      [NEVER, undefined],
      [half(200, 'application/json'), undefined],
      [OK, NEVER as HeadersHook],
    ] as const) {
      const { post } = createServer([answer], headers)
      const abort = new AbortController()
      const outcome = await post({}, abort)
      expect(outcome.settled).toBe(false)
      abort.abort(reason)
      await settle()
      expect(outcome.error).toBe(reason)
    }
  })

  test('C55: that is given up, or has no line any more, when the hook has thought is not made', async () => {
    const { hook, answers } = slowHook()
    const { post, requests } = createServer([UNAUTHORIZED, OK], hook)
    const abort = new AbortController()
    await post({}, abort)
    abort.abort(new ConnectionError('cancelled', 'why'))
    answers[0]?.give('new')
    await settle()
    expect(requests).toHaveLength(1)

    const held = new ConnectionError('cancelled', 'why')
    const line = createServer([OK], TOKEN)
    const onStart = () => {
      throw held
    }
    expect((await line.post({ onStart })).error).toBe(held)
    expect(line.requests).toEqual([])
  })
})

describe('a POST that the server refuses', () => {
  test('says what the server says, with its code for the app', async () => {
    const { post } = createServer([() => Response.json({ error: 'no-credit' }, { status: 402 })])
    expect((await post()).error).toMatchObject({
      code: 'http',
      status: 402,
      message: 'POST send (application/json): the server answered 402: no-credit',
      cause: 'no-credit',
      reason: 'no-credit',
    })
  })

  test.each([{ error: { code: 'no-credit' } }, { error: 402 }, {}])(
    'whose word is no text has no reason: %j',
    async (json) => {
      const { post } = createServer([() => Response.json(json, { status: 402 })])
      expect((await post()).error).toMatchObject({ code: 'http', cause: json.error, reason: undefined })
    },
  )

  test.each([
    'Application/JSON',
    'application/problem+json',
    'TEXT/JSON;charset=utf-8',
    'application/vnd.api+JSON ; v=1',
  ])('C69: in JSON that is called %s, its words are read', async (type) => {
    const answer = () => new Response('{"error":"id-reused"}', { status: 409, headers: { 'content-type': type } })
    expect((await createServer([answer]).post()).error).toMatchObject({ code: 'id-reused', status: 409 })
  })

  test.each(['application/jsonp', 'text/plain; format=/json', 'application/json-seq'])(
    'C69: %s is no JSON: its body is not waited for',
    async (type) => {
      expect((await createServer([half(409, type)]).post()).error).toMatchObject({ code: 'http', status: 409 })
    },
  )

  test('C66: and at what time by its own clock, not by ours', async () => {
    const headers = { date: 'Thu, 01 Jan 2026 00:00:00 GMT', 'retry-after': 'Thu, 01 Jan 2026 00:00:04 GMT' }
    const { post } = createServer([() => new Response(null, { status: 503, headers })])
    expect((await post()).error).toMatchObject({ retryAfter: 4_000 })
  })

  test('C40: knows how long to wait', async () => {
    const { post } = createServer([() => new Response(null, { status: 503, headers: { 'retry-after': '7' } })])
    expect((await post()).error).toMatchObject({ status: 503, retryAfter: 7_000 })
  })

  test('in words that are no JSON is not read: a body that never comes holds up nothing', async () => {
    const { post } = createServer([half(503, 'text/plain')])
    expect((await post()).error).toMatchObject({
      code: 'http',
      status: 503,
      message: 'POST send (text/plain): the server answered 503',
    })
  })

  test('has its status even if the JSON that goes with it never comes', async () => {
    const { post, clock } = createServer([half(403, 'application/problem+json')])
    const outcome = await post({ timeout: 1_000 })
    expect(outcome.settled).toBe(false)
    clock.advance(1_000)
    await settle()
    expect(outcome.error).toMatchObject({ code: 'forbidden', status: 403 })
  })

  test.each<[number, string, boolean]>([
    [400, 'http', false],
    [401, 'unauthorized', false],
    [403, 'forbidden', false],
    [404, 'unknown-stream', true],
    [408, 'http', true],
    [409, 'http', false],
    [410, 'unknown-stream', true],
    [422, 'http', false],
    [425, 'http', true],
    [429, 'http', true],
    [451, 'http', false],
    [304, 'http', true],
    [500, 'http', true],
    [504, 'http', true],
  ])('with %d: %s, worth another try: %s', (status, code, retryable) => {
    expect(toHttpError(status)).toMatchObject({ code, status, retryable, message: `the server answered ${status}` })
  })

  test('because its id was used for another message has a code of its own', () => {
    expect(toHttpError(409, 'id-reused')).toMatchObject({ code: 'id-reused', retryable: false })
    expect(toHttpError(409, { error: 'id-reused' })).toMatchObject({ code: 'http', message: 'the server answered 409' })
  })
})

describe('C31: a 401', () => {
  test('is answered by asking the hook once more; the next one is final', async () => {
    const { post, asked, requests } = createServer([UNAUTHORIZED], TOKEN)
    expect((await post()).error).toMatchObject({ code: 'unauthorized', status: 401 })
    expect(requests.map(({ headers }) => headers.get('authorization'))).toEqual(['old', 'new'])
    expect(asked).toEqual(['post 3', 'unauthorized 3'])
  })

  test('to headers that do not change is final', async () => {
    const { post, requests } = createServer([UNAUTHORIZED], { authorization: 'fixed' })
    expect((await post()).error).toMatchObject({ code: 'unauthorized' })
    expect(requests).toHaveLength(1)
  })

  test('after which nothing has worked yet is the last one: a 503 between is no proof of the new headers', async () => {
    const { post, asked, requests } = createServer([UNAUTHORIZED, BUSY, UNAUTHORIZED], TOKEN)
    await post()
    expect((await post()).error).toMatchObject({ code: 'unauthorized' })
    expect(requests).toHaveLength(3)
    expect(asked).toEqual(['post 3', 'unauthorized 3', 'post 3'])
  })

  test('after a 2xx, or after the line was stopped by one, is a first one again', async () => {
    for (const between of [OK, UNAUTHORIZED]) {
      const { post, requests } = createServer([UNAUTHORIZED, between, UNAUTHORIZED, OK], TOKEN)
      await post()
      expect((await post()).value).toEqual({ ok: true })
      expect(requests).toHaveLength(4)
    }
  })

  test('of several requests that were under way together is asked about once', async () => {
    const { hook, answers } = slowHook()
    const { post, requests } = createServer([UNAUTHORIZED, UNAUTHORIZED, OK], hook)
    const outcomes = [await post(), await post()]
    answers[0]?.give('new')
    await settle()
    expect(outcomes.map(({ value }) => value)).toEqual([{ ok: true }, { ok: true }])
    expect(answers).toHaveLength(1)
    expect(requests.slice(2).map(({ headers }) => headers.get('authorization'))).toEqual(['new', 'new'])
  })

  test('about which the hook fails says so, and is asked about again the next time', async () => {
    const { hook, answers } = slowHook()
    const { post } = createServer([UNAUTHORIZED], hook)
    const outcome = await post()
    const cause = new Error('no token')
    answers[0]?.fail(cause)
    await settle()
    expect(outcome.error).toMatchObject({ code: 'hook-failed', cause })
    await post()
    expect(answers).toHaveLength(2)
  })

  describe('of a request that gave up waiting for the hook', () => {
    /** The first has given up, and the second waits for an answer of its own. */
    const secondWaits = async (next: Answer = UNAUTHORIZED) => {
      const { hook, answers } = slowHook()
      const server = createServer([UNAUTHORIZED, UNAUTHORIZED, UNAUTHORIZED, next, UNAUTHORIZED], hook)
      const abort = new AbortController()
      const alongside = new AbortController()
      await server.post({}, abort)
      await server.post({}, alongside)
      abort.abort()
      await server.post()
      expect(answers).toHaveLength(2)
      return { ...server, answers, alongside }
    }

    test('is asked about again by the next one', async () => {
      await secondWaits()
    })

    test('leaves that to the next one, whatever comes late', async () => {
      const { post, answers, requests } = await secondWaits(NEVER)
      answers[0]?.give('late')
      await settle()
      const before = requests.length
      const third = await post()
      expect(requests.length).toBe(before + 1)
      expect([third.settled, answers.length]).toEqual([false, 2])
    })

    test('leaves that to the next one, whatever fails late', async () => {
      const { post, answers } = await secondWaits()
      answers[0]?.fail(new Error('late'))
      await settle()
      await post()
      expect(answers).toHaveLength(2)
    })

    test('leaves that to the next one, when another gives up on the same answer', async () => {
      const { post, answers, alongside } = await secondWaits()
      alongside.abort()
      await settle()
      await post()
      expect(answers).toHaveLength(2)
    })
  })

  test('of a request that was given up with its new headers has been asked about', async () => {
    const { post, asked, requests } = createServer([UNAUTHORIZED, NEVER, UNAUTHORIZED], TOKEN)
    const abort = new AbortController()
    await post({}, abort)
    abort.abort()
    await post()
    expect(requests).toHaveLength(3)
    expect(asked).toEqual(['post 3', 'unauthorized 3', 'post 3'])
  })
})

describe('C81: a request says nothing that nobody asked for', () => {
  const requestsOf = async (credentials?: 'omit') => {
    const inits: RequestInit[] = []
    const upstream = createUpstream({
      url: BASE,
      fetch: async (_, init = {}) => {
        inits.push(init)
        return OK()
      },
      ...(credentials && { credentials }),
      clock: fakeClock(),
      context: () => ({ attempt: 0, connectionId: 'c1' }),
    })
    await upstream.post('send', '{}', new AbortController())
    await upstream.streamFetch(`${BASE}/events`, { cache: 'no-store' })
    return inits.map((init) => Object.keys(init).sort())
  }

  test('no credentials, no cache and no keepalive', async () => {
    expect(await requestsOf()).toEqual([
      ['body', 'headers', 'method', 'redirect', 'signal'],
      ['cache', 'headers', 'redirect'],
    ])
  })

  test('credentials where the option says so', async () => {
    expect((await requestsOf('omit')).every((keys) => keys.includes('credentials'))).toBe(true)
  })

  // Old versions of workerd throw on it, and that of React Native changes the URL for it.
  test.each([undefined, class {}])('no cache for a stream where requests have none', async (Request) => {
    vi.stubGlobal('Request', Request)
    expect((await requestsOf())[1]).toEqual(['headers', 'redirect'])
  })
})

describe('the request of a stream', () => {
  test('is made as the EventSource wants it, with the headers and the credentials of the connection', async () => {
    const { streamFetch, requests, asked } = createServer([OK], TOKEN)
    const { signal } = new AbortController()
    await streamFetch(`${BASE}/events`, { headers: { Accept: 'text/event-stream' }, cache: 'no-store', signal })
    expect(requests[0]).toMatchObject({
      url: `${BASE}/events`,
      init: { cache: 'no-store', credentials: 'include', signal },
    })
    expect(Object.fromEntries(requests[0]?.headers ?? [])).toEqual({
      accept: 'text/event-stream',
      authorization: 'old',
    })
    expect(asked).toEqual(['stream 3'])
  })

  test('C31: is repeated after a 401, once, with what the hook says then', async () => {
    const { streamFetch, requests, asked } = createServer([UNAUTHORIZED], TOKEN)
    expect((await streamFetch(BASE, {})).status).toBe(401)
    expect(requests.map(({ headers }) => headers.get('authorization'))).toEqual(['old', 'new'])
    expect(asked).toEqual(['stream 3', 'unauthorized 3'])
  })

  test('that the hook fails is a failure with a reason', async () => {
    const cause = new Error('no token')
    const { streamFetch } = createServer([OK], () => Promise.reject(cause))
    await expect(streamFetch(BASE, {})).rejects.toMatchObject({ code: 'hook-failed', cause })
  })
})

describe('a beacon', () => {
  test('is JSON to the endpoint', async () => {
    const sendBeacon = vi.fn((_url: string, _body: Blob) => true)
    vi.stubGlobal('navigator', { sendBeacon })
    createServer([OK]).beacon('suspend', '{"a":1}')
    const [[url, body]] = sendBeacon.mock.calls as [[string, Blob]]
    expect([url, body.type, await body.text()]).toEqual([`${BASE}/suspend`, 'application/json', '{"a":1}'])
  })

  test.each([undefined, {}])('is none where the navigator is %j', (navigator) => {
    vi.stubGlobal('navigator', navigator)
    expect(createServer([OK]).beacon('suspend', '{}')).toBe(false)
  })
})
