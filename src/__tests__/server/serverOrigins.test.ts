import { afterEach, describe, expect, test, vi } from 'vitest'
import { type ChatServerOptions, createChatServer, type Principal } from '../../server'
import { answer, BASE, createTestServer, getEvents, openStream, post } from '../support/server'

const PROBE = { type: 'probe', nonce: 'n' }

afterEach(() => {
  vi.restoreAllMocks()
})

/** Asked as a browser would, through whatever stands between. */
async function ask(
  options: Partial<ChatServerOptions<Principal>>,
  headers: Record<string, string>,
  url = `${BASE}/events`,
) {
  const { server, errors } = createTestServer(options)
  const response = await server.fetch(new Request(url, { headers: { Authorization: 'alice', ...headers } }))
  const { status } = response
  if (status === 200) await response.body?.cancel()
  const { error, message } = status === 200 ? {} : await response.json()
  return { status, error, message, errors }
}

describe('C85: the same origin', () => {
  test.each<[string, Record<string, string>, number]>([
    ['same-origin', { 'Sec-Fetch-Site': 'same-origin' }, 200],
    ['none, as the address bar', { 'Sec-Fetch-Site': 'none' }, 200],
    ['same-site', { 'Sec-Fetch-Site': 'same-site' }, 403],
    ['cross-site', { 'Sec-Fetch-Site': 'cross-site' }, 403],
    [
      'cross-site, although a proxy forwards the Host of the page',
      { 'Sec-Fetch-Site': 'cross-site', Host: 'a:5173' },
      403,
    ],
  ])('is what the browser says it is, behind every proxy: %s', async (_, headers, status) => {
    // Vite's shorthand proxy and nginx with `proxy_pass` alone put the upstream's name in the place
    // of the browser's.
    expect((await ask({}, { Origin: 'http://a:5173', Host: 'b:3000', ...headers })).status).toBe(status)
  })

  test.each<[string, string, Record<string, string>, string]>([
    ['the Host of the request', 'https://chat.example', { Host: 'chat.example' }, `${BASE}/events`],
    ['its case', 'https://Chat.Example', { Host: 'CHAT.example' }, `${BASE}/events`],
    ['the default port of https', 'https://chat.example', { Host: 'chat.example:443' }, `${BASE}/events`],
    ['the default port of http', 'http://chat.example', { Host: 'chat.example:80' }, `${BASE}/events`],
    ['a default port in the Origin', 'https://chat.example:443', { Host: 'chat.example' }, `${BASE}/events`],
    ['a port of its own', 'http://a:8080', { Host: 'a:8080' }, `${BASE}/events`],
    ['an IPv6 address', 'http://[::1]:3000', { Host: '[::1]:3000' }, `${BASE}/events`],
    ['the URL, where there is no Host: h2c', 'https://chat.example', {}, 'http://chat.example/events'],
    ['the URL, where Host is another', 'http://chat.example', { Host: 'upstream:3000' }, 'http://chat.example/events'],
  ])('is told by Origin where the browser sends no Sec-Fetch-Site: %s', async (_, origin, headers, url) => {
    expect(await ask({}, { Origin: origin, ...headers }, url)).toMatchObject({ status: 200, errors: [] })
  })

  test.each<[string, string, Record<string, string>]>([
    ['another port, which nginx leaves out of $host', 'http://a:8080', { Host: 'a' }],
    ['the default port of the other scheme', 'https://a', { Host: 'a:80' }],
    ['another name', 'http://a.evil', { Host: 'a' }],
    ['an app with a scheme of its own', 'capacitor://localhost', { Host: 'localhost' }],
    ['none at all', 'null', { Host: 'null' }],
    ['X-Forwarded-Host, which anybody may send', 'http://a', { Host: 'b', 'X-Forwarded-Host': 'a' }],
  ])('is not %s', async (_, origin, headers) => {
    expect(await ask({}, { Origin: origin, ...headers })).toMatchObject({ status: 403, error: 'origin' })
  })

  test('is told by X-Forwarded-Host behind trustProxy, the first one', async () => {
    const headers = { Origin: 'http://a:5173', Host: 'b:3000', 'X-Forwarded-Host': 'A:5173, c:80' }
    expect((await ask({ trustProxy: true }, headers)).status).toBe(200)
    expect((await ask({ trustProxy: true }, { ...headers, Origin: 'http://evil.example' })).status).toBe(403)
  })

  test('does not matter where allowedOrigins is given: the list alone judges', async () => {
    const options = { allowedOrigins: ['https://App.example:443', 'capacitor://localhost'] }
    const site = { 'Sec-Fetch-Site': 'same-origin', Host: 'chat.example' }
    for (const origin of ['https://app.example', 'capacitor://localhost']) {
      expect((await ask(options, { Origin: origin, 'Sec-Fetch-Site': 'cross-site' })).status).toBe(200)
    }
    expect((await ask(options, { Origin: 'https://chat.example', ...site })).status).toBe(403)
  })
})

describe('C85: a refusal names what was seen, what was expected, and what to do', () => {
  const SENTENCE =
    "Origin http://a:5173 is not http://b:3000; list it in allowedOrigins or, if a proxy stands between, let it pass on the browser's " +
    'Host (or X-Forwarded-Host, with trustProxy)'

  test('to the client and to onError, which hears each sentence once', async () => {
    const { server, errors } = createTestServer()
    const { connectionId } = await openStream(server)
    const headers = { Origin: 'http://a:5173', Host: 'b:3000' }
    for (const _ of [1, 2]) {
      expect(await answer(getEvents(server, 'alice', headers))).toEqual([403, { error: 'origin', message: SENTENCE }])
      expect(await answer(post(server, 'probe', PROBE, { connectionId, headers }))).toEqual([
        403,
        { error: 'origin', message: SENTENCE },
      ])
    }
    expect(errors).toEqual([new Error(SENTENCE)])
    await getEvents(server, 'alice', { Origin: 'http://c', Host: 'b:3000' })
    expect(errors).toHaveLength(2)
  })

  test('where there is a list, that', async () => {
    const { message, errors } = await ask({ allowedOrigins: ['https://app.example'] }, { Origin: 'http://a:5173' })
    expect(message).toBe('Origin http://a:5173 is not in allowedOrigins; list it there')
    expect(errors).toEqual([new Error(message)])
  })

  test('where nobody listens, once on the console, however many come', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const server = createChatServer({ authenticate: () => null, authorize: () => false, onCommand: () => null })
    for (const port of [1, 2, 3]) await getEvents(server, '', { Origin: `http://a:${port}`, Host: 'localhost:3000' })
    expect(warn.mock.calls).toEqual([
      [expect.stringMatching(/^holdline: Origin http:\/\/a:1 is not http:\/\/localhost:3000; /)],
    ])
  })

  test('strangers cannot fill a log: onError hears a hundred sentences, each of them short', async () => {
    const { server, errors } = createTestServer()
    for (let n = 0; n < 200; n += 1)
      await getEvents(server, '', { Origin: `http://a${n}.example/${'x'.repeat(5_000)}` })
    expect(errors).toHaveLength(100)
    for (const { message } of errors as Error[]) expect(message.length).toBeLessThan(400)
  })
})

describe('C94: a request for a host that is not in allowedHosts', () => {
  const options = { allowedHosts: ['Chat.example', 'localhost', '[::1]'] }

  test.each(['chat.example', 'CHAT.example:8443', 'localhost:3000', '[::1]:3000'])('%s is in it', async (Host) => {
    expect((await ask(options, { Host })).status).toBe(200)
  })

  test.each(['evil.example', 'chat.example.evil.example', 'chat.example.', 'evil.example:443'])(
    '%s is refused by name, although its Origin is the same',
    async (Host) => {
      const headers = { Host, Origin: `http://${Host}`, 'Sec-Fetch-Site': 'same-origin' }
      const message = `Host ${Host} is not in allowedHosts; list it there if it is yours`
      expect(await ask(options, headers)).toEqual({ status: 403, error: 'host', message, errors: [new Error(message)] })
    },
  )

  test('is told by the URL where there is no Host, and by X-Forwarded-Host behind trustProxy', async () => {
    expect((await ask(options, {}, 'http://evil.example/events')).status).toBe(403)
    expect((await ask(options, {}, 'http://chat.example/events')).status).toBe(200)
    const forwarded = { Host: 'localhost:3000', 'X-Forwarded-Host': 'evil.example' }
    expect((await ask({ ...options, trustProxy: true }, forwarded)).status).toBe(403)
    expect((await ask(options, forwarded)).status).toBe(200)
  })

  const warnings = async (options: Partial<ChatServerOptions<Principal>>, ...hosts: string[]) => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const { server, errors } = createTestServer({ allowedHosts: undefined as never, ...options })
    for (const Host of hosts) await getEvents(server, 'alice', { Host })
    expect(errors).toEqual([])
    return warn.mock.calls.flat()
  }

  test('without either list any is served, with one warning, which is no error', async () => {
    const told = await warnings({}, 'localhost:3000', 'chat.example:3000', 'other.example')
    expect(told).toEqual([expect.stringContaining('chat.example:3000 for one, so')])
    expect(told[0]).toContain("give allowedHosts: ['chat.example'], or allowedHosts: 'any'")
  })

  test.each<[string, Partial<ChatServerOptions<Principal>>, string]>([
    ['on loopback', {}, 'localhost:3000'],
    ['on loopback', {}, 'app.localhost'],
    ['on loopback', {}, '127.0.0.1:3000'],
    ['on loopback', {}, '[::1]:3000'],
    ['where origins are listed', { allowedOrigins: ['https://app.example'] }, 'chat.example'],
    ['where any is meant', { allowedHosts: 'any' }, 'chat.example'],
  ])('%s there is no warning', async (_, options, host) => {
    expect(await warnings(options, host)).toEqual([])
  })
})

test('C93: a preflight allows the headers of allowedHeaders besides those of the protocol', async () => {
  const { server } = createTestServer({
    allowedOrigins: ['https://app.example'],
    allowedHeaders: ['X-CSRF-Token', 'traceparent'],
  })
  const { status, headers } = await server.fetch(
    new Request(`${BASE}/send`, {
      method: 'OPTIONS',
      headers: { Origin: 'https://app.example', 'Access-Control-Request-Headers': 'traceparent,x-csrf-token' },
    }),
  )
  expect([status, headers.get('access-control-allow-headers')]).toEqual([
    204,
    'Content-Type, X-Connection-ID, Idempotency-Key, X-Lane, Authorization, X-CSRF-Token, traceparent',
  ])
})

test('a page of a listed origin sees when it may come back: Retry-After, and Date to read it against', async () => {
  const { server } = createTestServer({ allowedOrigins: ['http://page.test'] })
  const headers = { Authorization: 'alice', Origin: 'http://page.test' }
  const response = await server.fetch(new Request(`${BASE}/events`, { headers }))
  await response.body?.cancel()
  expect(response.headers.get('Access-Control-Expose-Headers')?.split(', ')).toEqual(['Retry-After', 'Date'])
})
