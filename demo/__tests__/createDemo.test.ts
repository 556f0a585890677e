import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDemo, type Demo } from '../createDemo'

const BASE = 'http://127.0.0.1:4173'

let demo: Demo
beforeAll(async () => {
  demo = await createDemo({ awayMs: 0 })
})
afterAll(() => demo.close())

const get = (path: string, cookie = '') => demo.fetch(new Request(BASE + path, { headers: { Cookie: cookie } }))
const post = (path: string, cookie = '', headers: Record<string, string> = {}, message: object = {}) =>
  demo.fetch(
    new Request(BASE + path, {
      method: 'POST',
      headers: { Cookie: cookie, 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(message),
    }),
  )

async function visit(): Promise<string> {
  const cookie = (await get('/')).headers.get('Set-Cookie') ?? ''
  expect(cookie).toMatch(/HttpOnly/)
  expect(cookie).toMatch(/SameSite=Strict/)
  return cookie.split(';')[0] ?? ''
}

async function openStream(cookie: string): Promise<string> {
  const { body } = await get('/api/chat/events', cookie)
  const welcome = new TextDecoder().decode((await body?.getReader().read())?.value)
  return /"connectionId":"([^"]+)"/.exec(welcome)?.[1] ?? ''
}

test('the page and its assets are self-contained: one script, one stylesheet, nothing from elsewhere', async () => {
  const page = await (await get('/')).text()
  expect(page).toContain('src="/page.js"')
  expect((await get('/page.js')).headers.get('Content-Type')).toContain('text/javascript')
  expect((await get('/style.css')).headers.get('Content-Type')).toContain('text/css')
  expect(page.match(/(src|href)="(https?:)?\/\//g)).toBeNull()
  // `no-store` would keep the page out of the back/forward cache.
  expect((await get('/')).headers.get('Cache-Control')).toBe('no-cache')
})

test('every page of the documentation that is linked is there, as plain text of this version', async () => {
  const page = await (await get('/')).text()
  const links = Array.from(page.matchAll(/href="(\/docs\/[^"]*)"/g), ([, link = '']) => link)
  expect(links.length).toBeGreaterThanOrEqual(4)
  for (const link of links) {
    const answer = await get(link)
    expect([link, answer.status, answer.headers.get('Content-Type')]).toEqual([link, 200, 'text/plain; charset=UTF-8'])
    expect(await answer.text()).toMatch(/^# /)
  }
})

test.each([
  '/docs/',
  '/docs/nothing.md',
  '/docs/page.png',
  '/docs/..%2Fpackage.json',
  '/docs/%2E%2E/package.json',
  '/docs/constructor',
])('nothing else is served as documentation: %s', async (path) => {
  expect((await get(path)).status).toBe(404)
})

test('a visitor keeps the cookie that they have', async () => {
  expect((await get('/', await visit())).headers.get('Set-Cookie')).toBeNull()
})

test('without the cookie there is no chat and no mishap', async () => {
  expect((await get('/api/chat/events')).status).toBe(401)
  expect((await post('/demo/mishaps/restart')).status).toBe(401)
})

test('a mishap that does not exist is a 404', async () => {
  expect((await post('/demo/mishaps/flood', await visit())).status).toBe(404)
})

test('C46: a session belongs to whoever named it first', async () => {
  const send = async (cookie: string) => {
    const connectionId = await openStream(cookie)
    const message = { type: 'send', sessionId: 'demo-1', prompt: 'short' }
    return (await post('/api/chat/send', cookie, { 'X-Connection-ID': connectionId }, message)).status
  }
  expect(await send(await visit())).toBe(200)
  expect(await send(await visit())).toBe(403)
  expect(demo.prompts).toEqual(['short'])
})

const REBOUND = { Host: 'evil.example' }
const OTHER_PORT = { 'Sec-Fetch-Site': 'same-site', Origin: 'http://127.0.0.1:5555' }

test('C111: no page may frame it, whatever it answers', async () => {
  for (const path of ['/', '/page.js', '/style.css', '/health', '/nothing', '/api/chat/events']) {
    const { headers } = await get(path)
    expect(headers.get('X-Frame-Options')).toBe('DENY')
    expect(headers.get('X-Content-Type-Options')).toBe('nosniff')
    expect(headers.get('Content-Security-Policy')).toMatch(/default-src 'self';.*frame-ancestors 'none'/)
  }
})

test('C111: a cookie that this process has not given out harms nobody', async () => {
  const uuid = crypto.randomUUID()
  for (const cookie of ['demo=made-up', `demo=${uuid}`, `demo=${uuid}.${'A'.repeat(43)}`, 'demo=.', 'demo=__proto__']) {
    expect((await post('/demo/mishaps/restart', cookie)).status).toBe(401)
    expect((await post('/demo/mishaps/drop', cookie)).status).toBe(401)
  }
})

test('C111: a page goes on talking when the demo was started anew, and may cause mishaps when it was loaded anew', async () => {
  const id = crypto.randomUUID()
  const old = `demo=${id}.${'A'.repeat(43)}`
  const opened = await get('/api/chat/events', old)
  expect(opened.status).toBe(200)
  await opened.body?.cancel()
  const cookie = (await get('/', old)).headers.get('Set-Cookie')?.split(';')[0] ?? ''
  expect(cookie).toMatch(`demo=${id}.`)
  expect((await post('/demo/mishaps/drop', cookie)).status).toBe(200)
})

test('C111: a page of another port is of the same site, so it has the cookie; it restarts nothing', async () => {
  const cookie = await visit()
  for (const headers of [OTHER_PORT, { Origin: 'http://127.0.0.1:5555' }, { 'Sec-Fetch-Site': 'cross-site' }]) {
    const response = await post('/demo/mishaps/restart', cookie, headers as Record<string, string>)
    expect([response.status, await response.json()]).toEqual([
      403,
      { error: 'forbidden', message: 'only a page of this demo may do that' },
    ])
  }
  expect((await post('/demo/mishaps/restart', cookie, { Origin: BASE, 'Sec-Fetch-Site': 'same-origin' })).status).toBe(
    200,
  )
})

test('C111: under another name it answers nobody', async () => {
  const at = (path: string) => demo.fetch(new Request(`http://evil.example:4173${path}`, { headers: REBOUND }))
  for (const path of ['/', '/health', '/api/chat/events']) expect((await at(path)).status).toBe(403)
})

test('C111: restarts have their pace', async () => {
  const other = await createDemo()
  const at = (path: string, init?: RequestInit) => other.fetch(new Request(BASE + path, init))
  const cookie = (await at('/')).headers.get('Set-Cookie')?.split(';')[0] ?? ''
  const restart = async () =>
    (await at('/demo/mishaps/restart', { method: 'POST', headers: { Cookie: cookie } })).status
  expect([await restart(), await restart()]).toEqual([200, 429])
  await other.close()
})

test('a balancer can ask how it is: numbers, and whether it is about to go', async () => {
  const other = await createDemo()
  const health = async () => {
    const response = await other.fetch(new Request(`${BASE}/health`))
    return [response.status, await response.json()]
  }
  expect(await health()).toEqual([200, { status: 'ok', metrics: {} }])
  const headers = { Cookie: `demo=${crypto.randomUUID()}` }
  const open = () => other.fetch(new Request(`${BASE}/api/chat/events`, { headers }))
  const bodies = [await open(), await open()].map(({ body }) => body)
  expect(await health()).toEqual([200, { status: 'ok', metrics: { streams: 2 } }])
  await bodies[0]?.cancel()
  expect(await health()).toEqual([200, { status: 'ok', metrics: { streams: 1 } }])
  await other.close()
  expect(await health()).toEqual([503, { status: 'draining', metrics: { streams: 0 } }])
})
