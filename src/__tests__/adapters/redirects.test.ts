import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createConnection, type Feature } from 'holdline'
import { eventSourceTransport, fetchStreamTransport } from 'holdline/adapters'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { HeadersHook } from '../../adapters/credentials'
import { createUpstream, type PostOptions } from '../../adapters/fetchUpstream'
import { fakeClock } from '../../testing/harness/fakeClock'
import { settle } from '../support/fakes'

interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}
type Route = (seen: Seen, response: ServerResponse) => void

const json = (response: ServerResponse, status: number, answer: unknown) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
const redirect = (response: ServerResponse, status: number, location: string) =>
  response.writeHead(status, { location }).end('moved')
const ACCEPTS: Route = (_, response) => json(response, 200, { ok: true })

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

/** A real HTTP server, and all that has come to it. */
async function startSite(first: Route = ACCEPTS) {
  const seen: Seen[] = []
  const site = { route: first }
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { method = '', url: path = '', headers } = request
    const one = { method, path, headers, body }
    seen.push(one)
    site.route(one, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => {
    server.close()
    server.closeAllConnections()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return Object.assign(site, {
    seen,
    origin,
    url: `${origin}/api/chat`,
    paths: () => seen.map(({ method, path }) => `${method} ${path}`),
  })
}

const upstreamTo = (url: string, given?: typeof fetch, headers: HeadersHook = () => ({ authorization: 'secret' })) =>
  createUpstream({
    url,
    fetch: given ?? ((...args) => fetch(...args)),
    headers,
    clock: fakeClock(),
    context: () => ({ attempt: 0, connectionId: 'c1' }),
  })

const until = (check: () => void) => vi.waitFor(check, 15_000)

const PROMPT = '{"type":"send","prompt":"hi"}'
const OPTIONS: PostOptions = { idempotencyKey: 'k1' }
const post = ({ post }: ReturnType<typeof upstreamTo>, endpoint = 'send', options: PostOptions = OPTIONS) =>
  post(endpoint, PROMPT, new AbortController(), options)

/** The login page of a site whose session has ended. */
const toLogin =
  (status: number, endpoint = 'send'): Route =>
  ({ path }, response) =>
    path.startsWith('/login')
      ? json(response, 200, { user: null })
      : path.endsWith(`/${endpoint}`)
        ? redirect(response, status, '/login?next=%2Fsecret')
        : json(response, 200, { ok: true })

const ENDPOINTS = ['send', 'reconnect', 'watch', 'batch', 'probe', 'suspend']

describe('C63: a POST that is redirected has no answer', () => {
  test.each(
    [301, 302, 303].flatMap((status) =>
      ENDPOINTS.flatMap((endpoint) =>
        (['required', 'none', 'ifAnnounced'] as const).map((receipt) => [status, endpoint, receipt] as const),
      ),
    ),
  )('%d at %s (receipt: %s): it fails as `redirected`, and says where to', async (status, endpoint, receipt) => {
    const site = await startSite(toLogin(status, endpoint))
    await expect(post(upstreamTo(site.url), endpoint, { receipt })).rejects.toMatchObject({
      code: 'redirected',
      retryable: true,
      status,
      message: `POST ${endpoint}: redirected to ${site.origin}/login; log in, or correct \`url\``,
    })
    expect(site.paths()).toEqual([`POST /api/chat/${endpoint}`])
  })

  test.each([307, 308])('%d within the origin is followed, with all that the POST carries', async (status) => {
    const site = await startSite(({ path }, response) =>
      path === '/v2/post/'
        ? json(response, 200, { ok: 1 })
        : redirect(response, status, { '/api/chat/send': '/a/b?c', '/a/b?c': '../v2/post/' }[path] ?? '/lost'),
    )
    expect(await post(upstreamTo(site.url))).toEqual({ ok: 1 })
    expect(site.paths()).toEqual(['POST /api/chat/send', 'POST /a/b?c', 'POST /v2/post/'])
    for (const { body, headers } of site.seen) {
      expect(body).toBe(PROMPT)
      expect(headers).toMatchObject({ authorization: 'secret', 'idempotency-key': 'k1', 'x-connection-id': 'c1' })
    }
  })

  test('a redirect that goes round in a circle ends', async () => {
    const site = await startSite((_, response) => redirect(response, 308, '/api/chat/send'))
    await expect(post(upstreamTo(site.url))).rejects.toMatchObject({ code: 'redirected', status: 308 })
    expect(site.seen).toHaveLength(6)
  })

  test.each([301, 302, 303, 307, 308])('%d without a target is one too', async (status) => {
    const site = await startSite((_, response) => response.writeHead(status).end())
    await expect(post(upstreamTo(site.url))).rejects.toMatchObject({ code: 'redirected', status, retryable: true })
  })

  test('308 to something that is no URL says so', async () => {
    const site = await startSite((_, response) => redirect(response, 308, 'http://['))
    await expect(post(upstreamTo(site.url))).rejects.toMatchObject({
      code: 'network',
      message: 'POST send: TypeError: Invalid URL',
    })
  })

  test('304 is no redirect', async () => {
    const site = await startSite((_, response) => response.writeHead(304).end())
    await expect(post(upstreamTo(site.url))).rejects.toMatchObject({ code: 'http', status: 304 })
  })

  test('a 401 at the target asks for fresh headers, as at the first place', async () => {
    const site = await startSite(({ path, headers }, response) =>
      path.endsWith('/')
        ? headers.authorization === 'new'
          ? json(response, 200, { ok: true })
          : response.writeHead(401).end()
        : redirect(response, 308, `${path}/`),
    )
    const hook: HeadersHook = ({ reason }) => ({ authorization: reason === 'unauthorized' ? 'new' : 'old' })
    expect(await post(upstreamTo(site.url, undefined, hook))).toEqual({ ok: true })
  })

  test('I3 C55: a line that closed between two hops posts nothing more', async () => {
    const site = await startSite(({ path }, response) => redirect(response, 308, `${path}/`))
    let posts = 0
    const onStart = () => {
      if (posts++) throw new Error('held')
    }
    await expect(post(upstreamTo(site.url), 'send', { onStart })).rejects.toMatchObject({ cause: { message: 'held' } })
    expect(site.seen).toHaveLength(1)
  })
})

describe('C103: a redirect to another origin', () => {
  const elsewhere = { port: (url: string) => url, host: (url: string) => url.replace('127.0.0.1', 'localhost') }

  test.each([301, 302, 303, 307, 308])('%d carries nothing there: no message, no headers, no key', async (status) => {
    for (const place of Object.values(elsewhere)) {
      const other = await startSite()
      const site = await startSite((_, response) => redirect(response, status, place(`${other.url}/send`)))
      await expect(post(upstreamTo(site.url))).rejects.toMatchObject({
        code: 'redirected',
        status,
        message: expect.stringContaining(place(`${other.url}/send`)),
      })
      expect(other.seen).toEqual([])
    }
  })

  test('is one to another user name too, or to a host that begins like ours', async () => {
    for (const to of ['http://user@127.0.0.1:1/send', 'http://127.0.0.1.evil.test/send', '//127.0.0.2/send']) {
      const site = await startSite((_, response) => redirect(response, 307, to))
      await expect(post(upstreamTo(site.url))).rejects.toMatchObject({ code: 'redirected' })
    }
  })
})

/** [spec] Fetch, opaque-redirect filtered response: what a page gets for `redirect: 'manual'`. */
const hiding =
  (asked: (readonly [string, RequestInit])[] = []): typeof fetch =>
  async (input, init = {}) => {
    asked.push([String(input), init])
    const response = await fetch(input, init)
    if (init.redirect !== 'manual' || response.status < 300 || response.status > 399) return response
    return {
      type: 'opaqueredirect',
      status: 0,
      ok: false,
      redirected: false,
      headers: new Headers(),
      url: String(input),
      body: null,
    } as Response
  }

describe('C63: where a redirect is hidden, as in a page', () => {
  const slashes: Route = ({ method, path, body }, response) =>
    path.endsWith('/') ? json(response, body === '{}' ? 400 : 200, { method }) : redirect(response, 308, `${path}/`)

  test('the target is asked for once, without message, headers and credentials; from then on POSTs go there', async () => {
    const site = await startSite(slashes)
    const asked: (readonly [string, RequestInit])[] = []
    const upstream = upstreamTo(site.url, hiding(asked))
    expect(await post(upstream)).toEqual({ method: 'POST' })
    expect(await post(upstream)).toEqual({ method: 'POST' })
    expect(site.seen.map(({ path, body }) => [path, body])).toEqual([
      ['/api/chat/send', PROMPT],
      ['/api/chat/send', '{}'],
      ['/api/chat/send/', '{}'],
      ['/api/chat/send/', PROMPT],
      ['/api/chat/send/', PROMPT],
    ])
    const probe = site.seen[1]?.headers ?? {}
    expect(['authorization', 'idempotency-key', 'x-connection-id', 'cookie'].filter((name) => name in probe)).toEqual(
      [],
    )
    expect(asked[1]?.[1]).toMatchObject({ method: 'POST', body: '{}', credentials: 'omit' })
  })

  test('each endpoint is asked for on its own: that one has moved says nothing of another', async () => {
    const site = await startSite(slashes)
    const upstream = upstreamTo(site.url, hiding())
    await post(upstream)
    await post(upstream, 'reconnect')
    expect(site.seen.filter(({ body }) => body === PROMPT).map(({ path }) => path)).toEqual([
      '/api/chat/send',
      '/api/chat/send/',
      '/api/chat/reconnect',
      '/api/chat/reconnect/',
    ])
  })

  test.each([301, 302, 303])(
    '%d to a login page fails as `redirected`; the message never gets there',
    async (status) => {
      const site = await startSite(toLogin(status))
      const upstream = upstreamTo(site.url, hiding())
      const message = `POST send: redirected to ${site.origin}/login; log in, or correct \`url\``
      for (let round = 0; round < 2; round++) {
        await expect(post(upstream)).rejects.toMatchObject({ code: 'redirected', retryable: true, message })
      }
      expect(site.seen.filter(({ path, body }) => path.startsWith('/login') && body)).toEqual([])
      site.route = ACCEPTS
      expect(await post(upstream)).toEqual({ ok: true })
    },
  )

  test('C103: to another origin the message does not go, whatever that answers', async () => {
    const other = await startSite()
    const site = await startSite(({ path }, response) => redirect(response, 307, `${other.origin}${path}`))
    const upstream = upstreamTo(site.url, hiding())
    for (let round = 0; round < 2; round++) await expect(post(upstream)).rejects.toMatchObject({ code: 'redirected' })
    expect(other.seen.every(({ body, headers }) => body === '{}' && !headers.authorization)).toBe(true)
  })

  test('a target that cannot be learned is `redirected` too', async () => {
    const site = await startSite(({ body }, response) =>
      body === '{}' ? response.destroy() : redirect(response, 308, '/api/chat/send/'),
    )
    await expect(post(upstreamTo(site.url, hiding()))).rejects.toMatchObject({
      code: 'redirected',
      message: 'POST send: redirected to another origin; log in, or correct `url`',
    })
  })

  test('a target that redirects again fails, and is asked for anew the next time', async () => {
    const site = await startSite(slashes)
    const upstream = upstreamTo(site.url, hiding())
    await post(upstream)
    site.route = ({ path }, response) =>
      path.startsWith('/v2/') ? json(response, 200, { at: path }) : redirect(response, 308, '/v2/send')
    expect(await post(upstream)).toEqual({ at: '/v2/send' })
    site.route = (_, response) => redirect(response, 308, '/v3/send')
    await expect(post(upstream)).rejects.toMatchObject({ code: 'redirected' })
  })
})

describe('C63: a `fetch` of the app that follows redirects by itself', () => {
  const following: typeof fetch = (input, init) => fetch(input, { ...init, redirect: 'follow' })
  /** React Native's tells where it has ended up, and not that it was redirected. */
  const untold: typeof fetch = async (input, init) => {
    const { status, ok, headers, url, text } = await following(input, init).then(async (response) =>
      Object.assign(response, { text: await response.text().then((body) => async () => body) }),
    )
    return { status, ok, headers, url, text } as Response
  }

  test.each([
    ['that tells it', following],
    ['that does not', untold],
  ])('%s: the answer of another page is none', async (_, own) => {
    const site = await startSite(toLogin(302))
    await expect(post(upstreamTo(site.url, own))).rejects.toMatchObject({
      code: 'redirected',
      status: undefined,
      message: expect.stringContaining(`${site.origin}/login;`),
    })
  })

  test('is believed at the same endpoint', async () => {
    const site = await startSite(({ path }, response) =>
      path.endsWith('/') ? json(response, 200, { ok: true }) : redirect(response, 307, `${path}/`),
    )
    for (const own of [following, untold]) expect(await post(upstreamTo(site.url, own))).toEqual({ ok: true })
  })

  test('is believed too if it asks another server, without a redirect', async () => {
    const other = await startSite()
    const site = await startSite(() => expect.unreachable())
    const own: typeof fetch = (input, init) => fetch(String(input).replace(site.url, `${other.origin}/v2/of`), init)
    expect(await post(upstreamTo(site.url, own))).toEqual({ ok: true })
  })
})

describe('C63: a `fetch` of the app that asks another server, without a redirect', () => {
  test.each([
    ['EventSource', eventSourceTransport],
    ['fetch', fetchStreamTransport],
  ])('is believed in a stream too: %s', async (_, transport) => {
    const other = await startSite((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: welcome\ndata: {"type":"welcome","protocolVersion":2,"connectionId":"c1"}\n\n')
    })
    const connection = createConnection({
      url: 'http://cluster.invalid/chat',
      transport,
      headers: { authorization: 'a' },
      fetch: (input, init) => fetch(String(input).replace('http://cluster.invalid', other.origin), init),
    })
    closing.push(() => connection.dispose())
    connection.on('error', () => {})
    connection.connect()
    await until(() => expect(connection.isOpen).toBe(true))
  })
})

describe('C72: a stream that is redirected to a login page', () => {
  test.each<[string, typeof fetch | undefined]>([
    ['seen', undefined],
    ['hidden, as in a page', hiding()],
  ])('says so, and is asked for at its own place again after the login: the redirect is %s', async (_, given) => {
    let isSignedIn = false
    const site = await startSite(({ path }, response) => {
      if (path === '/login') return response.writeHead(200, { 'content-type': 'text/html' }).end('<form>')
      if (!isSignedIn) return redirect(response, 302, '/login')
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: welcome\ndata: {"type":"welcome","protocolVersion":2,"connectionId":"c1"}\n\n')
    })
    const connection = createConnection({
      url: site.url,
      transport: fetchStreamTransport,
      backoff: { base: 1 },
      ...(given && { fetch: given }),
    })
    closing.push(() => connection.dispose())
    connection.on('error', () => {})
    connection.connect()
    await until(() =>
      expect(connection.lastError).toMatchObject({
        code: 'redirected',
        message: `GET events: redirected to ${site.origin}/login; log in, or correct \`url\``,
      }),
    )
    isSignedIn = true
    await until(() => expect(connection.isOpen).toBe(true))
  })
})

describe('C63: over a whole connection', () => {
  const welcomes =
    (features: readonly Feature[], route: Route): Route =>
    (seen, response) => {
      if (!seen.path.endsWith('/events')) return route(seen, response)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const welcome = { type: 'welcome', protocolVersion: 2, connectionId: 'c1', features }
      response.write(`event: welcome\ndata: ${JSON.stringify(welcome)}\n\n`)
    }

  async function connect(features: readonly Feature[], endpoint: string, status = 302) {
    const site = await startSite(welcomes(features, toLogin(status, endpoint)))
    const connection = createConnection({
      url: site.url,
      transport: fetchStreamTransport,
      backoff: { base: 1, cap: 1 },
      timeouts: { probe: 20 },
      pageLifecycle: false,
    })
    closing.push(connection.dispose)
    const errors: string[] = []
    connection.on('error', ({ error }) => errors.push(error.code))
    return { site, connection, errors, heal: () => (site.route = welcomes(features, ACCEPTS)) }
  }

  test.each([[['receipts'] as const], [[] as const]])(
    'with %j, a prompt waits for the login, and is sent once',
    async (features) => {
      const { connection, errors, heal } = await connect(features, 'send')
      connection.connect()
      const delivery = connection.send({ type: 'send', prompt: 'hi' })
      await until(() => expect(errors.length).toBeGreaterThan(1))
      expect([new Set(errors), delivery.status === 'accepted']).toEqual([new Set(['redirected']), false])
      heal()
      expect(await delivery.settled).toMatchObject({ status: 'accepted', receipt: { ok: true } })
    },
  )

  test.each([[['receipts'] as const], [[] as const]])(
    'with %j, a resume that is redirected does not open the line, which says why',
    async (features) => {
      const { site, connection, heal } = await connect(features, 'reconnect')
      const opened = vi.fn()
      connection.on('opened', opened)
      connection.watch('s1')
      const delivery = connection.send({ type: 'send', prompt: 'hi' })
      connection.connect()
      await until(() => expect(site.paths().filter((path) => path.endsWith('/reconnect')).length).toBeGreaterThan(1))
      expect(connection.lastError).toMatchObject({ code: 'redirected', message: expect.stringContaining('/login') })
      expect([opened.mock.calls, delivery.status]).toEqual([[], 'queued'])
      heal()
      expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 1 })
    },
  )

  test('a `watch` that is redirected attaches nothing: a resume does', async () => {
    const { site, connection } = await connect(['watch-replay'], 'watch')
    connection.connect()
    await until(() => expect(connection.isOpen).toBe(true))
    connection.watch('s1')
    await until(() => expect(site.paths()).toContain('POST /api/chat/reconnect'))
  })

  test('a batch that is redirected is no batch that was turned down: it is repeated', async () => {
    const { site, connection, errors, heal } = await connect(['batch', 'receipts'], 'batch')
    const deliveries = ['a', 'b'].map((prompt) => connection.send({ type: 'send', prompt }))
    connection.connect()
    await until(() => expect(errors).toContain('redirected'))
    expect(site.paths()).not.toContain('POST /api/chat/send')
    heal()
    await Promise.all(deliveries.map(({ settled }) => settled))
  })

  test('a probe that is redirected proves nothing: the stream is replaced', async () => {
    const { connection } = await connect(['probe'], 'probe')
    const closed = vi.fn()
    connection.on('closed', closed)
    connection.connect()
    await until(() => expect(connection.isOpen).toBe(true))
    connection.wake()
    await until(() => expect(closed.mock.calls).toMatchObject([[{ reason: 'probe-timeout' }]]))
    await settle()
  })
})
