import { describe, expect, test } from 'vitest'
import type { ChatServerOptions, Principal } from '../../server'
import { createSockets } from '../support/gateway'
import { BASE, createTestServer, getEvents, openStream, range, until } from '../support/server'

const PAGE = 'https://app.example'

/** A GET as a browser makes it. */
async function ask(sent: Record<string, string>, options: Partial<ChatServerOptions<Principal>> = {}, path = 'events') {
  const { server } = createTestServer(options)
  const response = await server.fetch(new Request(`${BASE}/${path}`, { headers: { Authorization: 'alice', ...sent } }))
  if (response.status === 200) await response.body?.cancel()
  return [response.status, response.status === 403 ? (await response.json()).error : '']
}

const PASSES = [200, '']
const REFUSED = [403, 'fetch-metadata']

describe('C102: a GET passes that an EventSource, a fetch or a WebSocket makes', () => {
  test.each<[string, Record<string, string>]>([
    ['none of the headers: an older browser, curl', {}],
    ['Node', { 'Sec-Fetch-Mode': 'cors' }],
    [
      'an EventSource of the same origin',
      { 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty', 'Sec-Fetch-Site': 'same-origin' },
    ],
    ['a fetch with mode same-origin', { 'Sec-Fetch-Mode': 'same-origin', 'Sec-Fetch-Site': 'same-origin' }],
    ['a WebSocket', { 'Sec-Fetch-Mode': 'websocket', 'Sec-Fetch-Dest': 'websocket', 'Sec-Fetch-Site': 'same-origin' }],
    ['an extension or a native shell', { 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Site': 'none' }],
  ])('%s', async (_, sent) => {
    expect(await ask(sent)).toEqual(PASSES)
  })

  test('a page of a listed origin, of whatever site', async () => {
    for (const site of ['same-site', 'cross-site']) {
      const sent = { 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty', 'Sec-Fetch-Site': site }
      expect(await ask({ ...sent, Origin: PAGE }, { allowedOrigins: [PAGE] })).toEqual(PASSES)
      // The list alone judges an Origin, and there is none to judge: a proxy has taken it away.
      expect(await ask(sent, { allowedOrigins: [PAGE] })).toEqual(PASSES)
    }
  })
})

describe('C102: a GET is refused that no script of ours makes, before anybody is asked who it is', () => {
  test.each<[string, Record<string, string>]>([
    ['an iframe', { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'iframe', 'Sec-Fetch-Site': 'same-site' }],
    ['an iframe of the same origin', { 'Sec-Fetch-Dest': 'iframe', 'Sec-Fetch-Site': 'same-origin' }],
    ['a frame', { 'Sec-Fetch-Dest': 'frame' }],
    ['an embed', { 'Sec-Fetch-Dest': 'embed' }],
    ['an object', { 'Sec-Fetch-Dest': 'object' }],
    ['a popup', { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document', 'Sec-Fetch-Site': 'cross-site' }],
    ['the address bar', { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document', 'Sec-Fetch-Site': 'none' }],
    ['an img', { 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image', 'Sec-Fetch-Site': 'same-site' }],
    ['a fetch with no-cors', { 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'empty', 'Sec-Fetch-Site': 'same-site' }],
    ['whatever else comes from another origin of the site and does not name it', { 'Sec-Fetch-Site': 'same-site' }],
    ['the same from another site', { 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Site': 'cross-site' }],
  ])('%s', async (_, sent) => {
    let asked = 0
    const authenticate = () => {
      asked += 1
      return { id: 'alice' }
    }
    expect(await ask(sent, { authenticate })).toEqual(REFUSED)
    expect(await ask(sent, { authenticate }, 'events?ask')).toEqual(REFUSED)
    expect(asked).toBe(0)
  })

  test('a frame of a listed origin', async () => {
    const sent = { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'iframe', 'Sec-Fetch-Site': 'same-site' }
    expect(await ask(sent, { allowedOrigins: [PAGE] })).toEqual(REFUSED)
    expect(await ask({ ...sent, Origin: PAGE }, { allowedOrigins: [PAGE] })).toEqual(REFUSED)
  })

  test('a page of the same site that is not listed', async () => {
    const sent = { 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty', 'Sec-Fetch-Site': 'same-site' }
    expect(await ask({ ...sent, Origin: 'https://blog.example' })).toEqual([403, 'origin'])
    const listed = { allowedOrigins: [PAGE] }
    expect(await ask({ ...sent, Origin: 'https://blog.example' }, listed)).toEqual([403, 'origin'])
  })

  test('the sentence says what was seen and what this is for', async () => {
    const { server } = createTestServer()
    const { message } = await (await getEvents(server, '', { 'Sec-Fetch-Dest': 'iframe' })).json()
    expect(message).toMatch(/^Sec-Fetch-Dest: iframe: this is for an EventSource, .*not to be visited or embedded$/)
  })

  test('a socket that a page of the same site opens', async () => {
    const { server } = createTestServer()
    const upgrade = { Origin: 'https://blog.example', 'Sec-Fetch-Mode': 'websocket', 'Sec-Fetch-Site': 'same-site' }
    const socket = await createSockets({ fetch: server.fetch }).opens({ headers: upgrade })
    expect(socket.closed).toEqual([4403, 'origin'])
  })
})

test('C102: twenty frames of a page of the same site take none of the streams of its visitor', async () => {
  const { server } = createTestServer()
  const frame = { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'iframe', 'Sec-Fetch-Site': 'same-site' }
  const frames = await Promise.all(range(1, 20).map(() => getEvents(server, 'alice', frame)))
  expect(new Set(frames.map(({ status }) => status))).toEqual(new Set([403]))
  const streams = await Promise.all(range(1, 20).map(() => openStream(server)))
  await until(() => streams.every(({ connectionId }) => connectionId !== ''), 'twenty streams')
})

test('C102: a browser without Fetch Metadata gives up a stream in a frame as soon as it has read the headers', async () => {
  const { server } = createTestServer()
  const { headers, body } = await getEvents(server)
  expect([headers.get('x-frame-options'), headers.get('x-content-type-options')]).toEqual(['DENY', 'nosniff'])
  await body?.cancel()
})

describe('C102: the scheme is part of an origin', () => {
  const at = async (origin: string, url: string, more = {}, options = {}) => {
    const { server } = createTestServer(options)
    const headers = { Authorization: 'alice', Origin: origin, ...more }
    const response = await server.fetch(new Request(url, { headers }))
    await response.body?.cancel()
    return response.status
  }

  test('http is not https: somebody in between can write what is on that page', async () => {
    expect(await at('http://chat.example', 'https://chat.example/events')).toBe(403)
    expect(await at('https://chat.example', 'https://chat.example/events')).toBe(200)
    expect(await at('http://chat.example:443', 'https://chat.example/events')).toBe(403)
  })

  test('a plain request may have come through a proxy that ends TLS, so both are the same there', async () => {
    expect(await at('https://chat.example', 'http://chat.example/events')).toBe(200)
    expect(await at('http://chat.example', 'http://chat.example/events')).toBe(200)
  })

  test('behind trustProxy X-Forwarded-Proto says what the browser called', async () => {
    const url = 'http://chat.example/events'
    const trusted = { trustProxy: true }
    const https = { 'X-Forwarded-Proto': 'HTTPS, http' }
    expect(await at('https://chat.example', url, https, trusted)).toBe(200)
    expect(await at('http://chat.example', url, https, trusted)).toBe(403)
    // Anybody may send it.
    expect(await at('http://chat.example', url, https)).toBe(200)
  })

  test('a list means what it says', async () => {
    const options = { allowedOrigins: ['https://app.example'] }
    expect(await at('http://app.example', 'https://chat.example/events', {}, options)).toBe(403)
  })
})

test('C102: a cache never hands what one origin was answered to another', async () => {
  const { server } = createTestServer({ allowedOrigins: [PAGE] })
  for (const origin of [{}, { Origin: PAGE }, { Origin: 'https://evil.example' }, { Origin: 'null' }]) {
    const response = await getEvents(server, 'alice', origin as Record<string, string>)
    expect(response.headers.get('vary')).toBe('Origin')
    expect(response.headers.get('cache-control')).toMatch(/no-store|no-cache/)
    await response.body?.cancel()
  }
})
