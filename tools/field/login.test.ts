import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createAdaptorServer } from '@hono/node-server'
import { type ChatServer, createChatServer } from 'holdline/server'
import type { Browser, BrowserContext } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { type App, createApp } from './app'
import { onNode } from './place'
import { describeWith, findPackage } from './tools'

const recipe = (path: string) => readFileSync(new URL(`../../examples/recipes/${path}`, import.meta.url), 'utf8')

/** Says how it stands, and what it has heard. With `?login` it logs in again when it has to. */
const FILES = {
  'index.html':
    '<!doctype html><output></output><p></p><button>send</button><script type="module" src="/main.ts"></script>',
  'login.ts': recipe('login.ts'),
  'status.ts': recipe('status.ts'),
  'main.ts': `import { createConnection } from 'holdline'
import { keepSignedIn } from './login'
import { statusOf } from './status'
const connection = createConnection({ url: '/api/chat' })
const show = (name: string, text: string) => (document.querySelector(name)!.textContent = text)
let heard = ''
connection.on('message', ({ text }) => show('p', (heard += text)))
connection.subscribe((snapshot) => show('output', statusOf(snapshot)))
if (location.search) keepSignedIn(connection, () => fetch('/api/login', { method: 'POST' }))
connection.watch('s1')
connection.connect()
document.querySelector('button')!.onclick = () => connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' })
`,
}

/** What a server answers a request whose cookie has expired. */
const ANSWERS: Readonly<Record<string, () => Response | undefined>> = {
  '401': () => undefined,
  'a redirect to a login page': () => new Response(null, { status: 302, headers: { Location: '/api/form' } }),
}

const isSignedIn = ({ headers }: Request) => headers.get('cookie') === 'session=1'

async function startSite(answer: () => Response | undefined) {
  let taken = 0
  const chat: ChatServer = createChatServer({
    authenticate: (request) => (isSignedIn(request) ? { id: 'ann' } : null),
    authorize: () => true,
    async onCommand({ sessionId = '', publish }) {
      await publish(sessionId, { type: 'token', text: `answer ${++taken} ` })
    },
  })
  const http = createAdaptorServer({
    fetch(request) {
      const { pathname } = new URL(request.url)
      if (pathname === '/api/login')
        return new Response('', { headers: { 'Set-Cookie': 'session=1; Path=/; HttpOnly' } })
      if (pathname === '/api/form') return new Response('<form>', { headers: { 'Content-Type': 'text/html' } })
      return (!isSignedIn(request) && answer()) || chat.fetch(request)
    },
  }) as Server
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return {
    port: (http.address() as AddressInfo).port,
    cut: () => http.closeAllConnections(),
    async close() {
      await chat.close()
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

const vite = findPackage('vite')
describeWith(
  onNode('a cookie that expires, behind the proxy of Vite in its short form', { proxy: 'Vite' }),
  { vite, chromium: findBrowser() },
  () => {
    let app: App
    let browser: Browser
    const cleanups: (() => unknown)[] = []

    beforeAll(async () => {
      app = createApp(FILES)
      browser = await launch(findBrowser() as string)
    })
    afterAll(async () => {
      for (const cleanup of cleanups.reverse()) await cleanup()
      await browser?.close()
      app?.remove()
    })

    async function open(answer: () => Response | undefined, query: string) {
      const site = await startSite(answer)
      const { createServer } = await import(join(vite as string, 'dist/node/index.js'))
      const server = await createServer({
        root: app.folder,
        configFile: false,
        logLevel: 'silent',
        server: { host: 'localhost', port: 0, proxy: { '/api': `http://127.0.0.1:${site.port}` } },
      })
      await server.listen()
      const [url] = server.resolvedUrls.local as [string]
      const context: BrowserContext = await browser.newContext()
      cleanups.push(
        site.close,
        () => server.close(),
        () => context.close(),
      )
      await context.request.post(`${url}api/login`)
      const page = await context.newPage()
      const told: string[] = []
      page.on('console', (message) => message.text().startsWith('holdline') && told.push(message.text()))
      await page.goto(url + query)
      const shows = (name: string, what: RegExp) =>
        expect.poll(() => page.textContent(name), { timeout: 60_000 }).toMatch(what)
      await shows('output', /^online$/)
      await page.click('button')
      await shows('p', /^answer 1 $/)
      await context.clearCookies()
      return { page, site, told, shows }
    }

    const cases = Object.entries(ANSWERS)

    test.each(cases)(
      '%s: the login recipe loses nothing, on an open line and on one that was cut',
      async (_, answer) => {
        const { page, site, shows } = await open(answer, '?login')
        await page.click('button')
        await shows('p', /^answer 1 answer 2 $/)
        await page.context().clearCookies()
        site.cut()
        await page.click('button')
        await shows('p', /^answer 1 answer 2 answer 3 $/)
        await shows('output', /^online$/)
      },
    )

    test.each(cases)('%s: without the recipe one sentence says what to do', async (name, answer) => {
      const { page, told, shows } = await open(answer, '')
      await page.click('button')
      const [seen, sentence] =
        name === '401'
          ? [/^not connected: .*401.*, 1 waiting$/, /stopped until connect\(\).*the server answered 401: unauthorized/]
          : [/^the server takes no messages, again at .*, 1 waiting$/, /redirected to .*\/api\/form; log in/]
      await shows('output', seen)
      expect(told.map((line) => line.split('\n')[0])).toEqual([expect.stringMatching(sentence)])
    })

    test('a redirect, and a stream that is cut: one sentence says what to do', async () => {
      const { site, told, shows } = await open(ANSWERS['a redirect to a login page'] as () => Response, '')
      site.cut()
      await shows('output', /^no connection, again at/)
      await expect
        .poll(() => told.map((line) => line.split('\n')[0]), { timeout: 60_000 })
        .toEqual([
          expect.stringMatching(/not connected to .*, but trying: GET events: redirected to .*\/api\/form; log in/),
        ])
    })
  },
)
