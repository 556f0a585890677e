import { afterEach, expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { onNode } from './place'
import { openLine, SOON } from './proxies/openLine'
import type { Page } from './proxies/page/main'
import { snippets } from './proxies/snippet'
import { kindOf, startProxy, type Tuning } from './proxies/startProxy'
import { startUpstream, type Upstream, type UpstreamOptions } from './proxies/startUpstream'
import { startVite } from './proxies/startVite'
import { describeWith, findTool } from './tools'

interface Case {
  readonly name: string
  /** What the upstream is told is where the browser called, scheme and port and all. */
  readonly tellsHost: boolean
  /** It adds X-Forwarded-Host. */
  readonly forwardsHost?: boolean
  readonly h2c?: boolean
  /** It cuts a stream that is quiet for too long. */
  readonly hasIdle: boolean
}

const CASES: readonly Case[] = [
  { name: 'nginx-alone', tellsHost: false, hasIdle: true },
  { name: 'nginx-host', tellsHost: false, hasIdle: true },
  { name: 'nginx-http-host', tellsHost: true, hasIdle: true },
  { name: 'nginx-host-port', tellsHost: true, hasIdle: true },
  { name: 'apache', tellsHost: false, forwardsHost: true, hasIdle: true },
  { name: 'apache-host', tellsHost: true, forwardsHost: true, hasIdle: true },
  { name: 'haproxy', tellsHost: true, hasIdle: true },
  { name: 'haproxy-no-delay', tellsHost: true, hasIdle: true },
  { name: 'haproxy-h2c', tellsHost: true, hasIdle: true, h2c: true },
  { name: 'caddy', tellsHost: true, forwardsHost: true, hasIdle: false },
  { name: 'caddy-h2c', tellsHost: true, forwardsHost: true, hasIdle: false, h2c: true },
]

const opened: (() => unknown)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

async function start({ name, h2c = false }: Case, options: UpstreamOptions = {}, tuning: Tuning = {}) {
  const upstream = await startUpstream({ h2c, ...options })
  opened.push(() => upstream.stop())
  const proxy = await startProxy(name, upstream.port, tuning)
  opened.push(() => proxy.stop())
  return { upstream, origin: proxy.origin }
}

function open(...given: Parameters<typeof openLine>) {
  const line = openLine(...given)
  opened.push(line.connection.dispose)
  return line
}

const publish = ({ chat }: Upstream, n: unknown, more = {}) => chat.publish('s1', { type: 'token', n, ...more })

test('every configuration of docs/proxies.md is tried', () => {
  expect([...CASES.map(({ name }) => name), 'vite'].sort()).toEqual(snippets().sort())
})

for (const proxy of CASES) {
  const { name, tellsHost, forwardsHost, hasIdle } = proxy
  const { tool } = kindOf(name)
  const host = proxy.h2c ? 'node:http2' : 'node:http'

  describeWith(onNode(`behind ${name}`, { host, proxy: name, client: 'Node' }), { [tool]: findTool(tool) }, () => {
    test('C85: the line of a page opens where the browser says that it is of the same origin', async () => {
      const { upstream, origin } = await start(proxy)
      await open(origin, 'same-origin').opens()
      expect(upstream.errors).toEqual([])
    })

    test.runIf(tellsHost)('C85: it opens where the browser does not say it, because Host is the page’s', async () => {
      const { origin } = await start(proxy)
      await open(origin, undefined).opens()
    })

    test.runIf(!tellsHost)(
      'C85: where the browser does not say it, a list of origins opens it; without, the refusal says why',
      async () => {
        const closed = await start(proxy)
        const { connection } = open(closed.origin, undefined)
        await expect.poll(() => closed.upstream.errors.length, SOON).toBeGreaterThan(0)
        expect(closed.upstream.errors[0]).toContain(`Origin ${closed.origin} is not `)
        expect(closed.upstream.errors[0]).toContain('list it in allowedOrigins')
        expect(connection.isOpen).toBe(false)
        // With the very Origin that the page will have.
        const upstream = await startUpstream({ h2c: proxy.h2c ?? false, allowedOrigins: ['http://chat.example:8080'] })
        opened.push(() => upstream.stop())
        const { origin, stop } = await startProxy(name, upstream.port)
        opened.push(stop)
        await open(origin, undefined, { headers: { Origin: 'http://chat.example:8080' } }).opens()
      },
    )

    test.runIf(forwardsHost)('C85: … or the host that the proxy forwards, where it is trusted', async () => {
      const { origin } = await start(proxy, { trustProxy: true })
      await open(origin, undefined).opens()
    })

    test('C53: a prompt is accepted, and each event of its answer arrives while the stream goes on', async () => {
      const { upstream, origin } = await start(proxy)
      const line = open(origin, 'same-origin')
      await line.opens()
      expect(await line.send('hi').settled).toMatchObject({ status: 'accepted', receipt: { took: 'hi' } })
      for (const [n, text] of ['', 'x'.repeat(10), 'x'.repeat(5_000), '', 'x'.repeat(200_000), ''].entries()) {
        await publish(upstream, n, { text })
        await expect.poll(() => line.events, SOON).toContain(n)
      }
      expect([line.events, line.lifecycle]).toEqual([[0, 1, 2, 3, 4, 5], ['opened']])
    })

    test('a restart of the server leads back to open, and nothing is lost', async () => {
      const { upstream, origin } = await start(proxy)
      const line = open(origin, 'same-origin')
      await line.opens()
      await line.send('before').settled
      await publish(upstream, 1)
      await expect.poll(() => line.events, SOON).toEqual([1])
      upstream.down()
      await expect.poll(() => line.connection.isOpen, SOON).toBe(false)
      const during = line.send('during')
      await publish(upstream, 2)
      await upstream.up()
      expect(await during.settled).toMatchObject({ status: 'accepted' })
      await publish(upstream, 3)
      await expect.poll(() => line.events, SOON).toEqual([1, 2, 3])
      expect(upstream.runs).toEqual(['before', 'during'])
    })

    test('a POST while the server takes no connection is repeated, and accepted once', async () => {
      const { upstream, origin } = await start(proxy)
      const line = open(origin, 'same-origin')
      await line.opens()
      await line.send('before').settled
      upstream.refuse()
      const during = line.send('during')
      await expect.poll(() => line.posts, SOON).toContainEqual(expect.stringMatching(/^send 50[234]$/))
      await upstream.up()
      expect(await during.settled).toMatchObject({ status: 'accepted' })
      expect(upstream.runs).toEqual(['before', 'during'])
    })

    test('a body over our limit is a 413 to that message alone, each time, and not a reset', async () => {
      const { upstream, origin } = await start(proxy, { limits: { bodyBytes: 10_000 } })
      const line = open(origin, 'same-origin')
      await line.opens()
      for (const size of [20_000, 200_000, 900_000]) {
        for (let n = 0; n < 10; n += 1) {
          const verdict = await line.send('x'.repeat(size)).settled
          expect(verdict).toMatchObject({ status: 'rejected', attempts: 1, error: { status: 413 } })
        }
      }
      expect(await line.send('small').settled).toMatchObject({ status: 'accepted' })
      expect([upstream.runs, line.lifecycle]).toEqual([['small'], ['opened']])
    })

    test.runIf(hasIdle)('a quiet stream is cut by the proxy without heartbeats, and not with them', async () => {
      const silent = await start(proxy, { heartbeat: 60_000 }, { idle: 1 })
      const cut = open(silent.origin, 'same-origin')
      await expect.poll(() => cut.lifecycle, SOON).toContain('closed failed')
      const { upstream, origin } = await start(proxy, { heartbeat: 250 }, { idle: 1 })
      const line = open(origin, 'same-origin')
      await line.opens()
      // As long as the other one takes to be cut three times more.
      await expect.poll(() => cut.lifecycle.filter((what) => what !== 'opened').length, SOON).toBeGreaterThan(3)
      await publish(upstream, 1)
      await line.send('hi').settled
      await publish(upstream, 2)
      await expect.poll(() => line.events, SOON).toContain(2)
      expect(line.lifecycle).toEqual(['opened'])
    })
  })
}

describeWith('nginx and bodies that are too large for it', { nginx: findTool('nginx') }, () => {
  test('its own 413, an HTML page, is to that message alone', async () => {
    const [proxy] = CASES
    const { upstream, origin } = await start(proxy as Case, {}, { more: 'client_max_body_size 8k;' })
    const line = open(origin, 'same-origin')
    await line.opens()
    expect(await line.send('x'.repeat(50_000)).settled).toMatchObject({ status: 'rejected', error: { status: 413 } })
    expect(await line.send('small').settled).toMatchObject({ status: 'accepted' })
    expect([upstream.runs, line.lifecycle]).toEqual([['small'], ['opened']])
  })
})

const browserPath = findBrowser()

const vitePlace = onNode('behind Vite, whose shorthand replaces Host', { host: 'node:http', proxy: 'Vite' })

describeWith(vitePlace, { vite: findTool('vite'), chromium: browserPath }, () => {
  async function visit(options: UpstreamOptions = {}) {
    const upstream = await startUpstream(options)
    opened.push(() => upstream.stop())
    const vite = await startVite(upstream.port)
    opened.push(() => vite.stop())
    const browser = await launch(String(browserPath))
    opened.push(() => browser.close())
    const page = await browser.newPage()
    const posts: string[] = []
    const said: string[] = []
    page.on('response', (response) =>
      posts.push(`${new URL(response.url()).pathname.split('/').at(-1)} ${response.status()}`),
    )
    page.on('console', (message) => said.push(message.text()))
    await page.goto(vite.origin)
    const asked = () => page.evaluate(() => (window as unknown as { page: Page }).page.tell())
    const line = {
      posts,
      said,
      asked,
      send: (prompt: string) => page.evaluate((text) => (window as unknown as { page: Page }).page.send(text), prompt),
      opens: () => expect.poll(async () => (await asked()).phase, SOON).toBe('open'),
      hears: (events: readonly number[]) => expect.poll(async () => (await asked()).events, SOON).toEqual(events),
    }
    await page.waitForFunction(() => 'page' in window)
    return { upstream, line }
  }

  test('C85 C53: a page’s line opens, its prompt is accepted, and each event of the answer arrives by itself', async () => {
    const { upstream, line } = await visit()
    await line.opens()
    expect(await line.send('hi')).toMatchObject({ status: 'accepted', receipt: { took: 'hi' } })
    for (const n of [0, 1, 2]) {
      await publish(upstream, n, { text: 'x'.repeat(n * 5_000) })
      await line.hears([0, 1, 2].slice(0, n + 1))
    }
    expect((await line.asked()).lifecycle).toEqual(['opened'])
    expect(upstream.errors).toEqual([])
  })

  test('a restart of the server leads back to open, nothing is lost, and what failed meanwhile is accepted once', async () => {
    const { upstream, line } = await visit()
    await line.opens()
    await line.send('before')
    upstream.refuse()
    const during = line.send('during')
    await expect.poll(() => line.posts, SOON).toContainEqual(expect.stringMatching(/^send 50\d$/))
    upstream.down()
    await publish(upstream, 1)
    await upstream.up()
    expect(await during).toMatchObject({ status: 'accepted' })
    await publish(upstream, 2)
    await line.hears([1, 2])
    expect(upstream.runs).toEqual(['before', 'during'])
  })
})
