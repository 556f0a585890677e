import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { compileScript, parse } from '@vue/compiler-sfc'
import type { Plugin } from 'esbuild'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { freePort } from '../shared/freePort'
import { bundleForPage, bundleForRuntime } from './bundle'
import { type Started, start } from './process'
import { describeWith } from './tools'

// docs/first-app.md, as a user would try it: two users, a streamed answer, a server that is killed.

const ANSWER = (prompt: string) => `This is a simulated answer to “${prompt}”, one word after the other.`
const PATIENCE = { timeout: 60_000 }

/** A component of one file, as Vite's plugin for Vue makes it. */
const vue: Plugin = {
  name: 'vue',
  setup(build) {
    build.onLoad({ filter: /\.vue$/ }, ({ path }) => {
      const { descriptor } = parse(readFileSync(path, 'utf8'), { filename: path })
      const { content } = compileScript(descriptor, { id: path, inlineTemplate: true })
      return { contents: content, loader: 'ts' }
    })
  },
}

const PAGES = {
  React: () => bundleForPage('../../examples/page/react/main.tsx', { jsx: 'automatic' }),
  Vue: () => bundleForPage('../../examples/page/vue/main.ts', { plugins: [vue] }),
}

/** The page, and the server half behind it, as behind Vite's proxy. */
async function startFront(script: string, port: number): Promise<Server> {
  const front = createServer((req, res) => {
    if (req.url === '/')
      return void res.end('<!doctype html><title>Chat</title><body><script type="module" src="page.js"></script>')
    if (req.url === '/page.js') return void res.setHeader('Content-Type', 'text/javascript').end(script)
    const { method, headers, url } = req
    const behind = request({ port, host: '127.0.0.1', method, headers, path: url }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      pipeline(answer, res, () => {})
    })
    behind.on('error', () => (res.headersSent ? res.destroy() : res.writeHead(502).end()))
    req.pipe(behind)
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  return front
}

describeWith('docs/first-app.md', { chromium: findBrowser() }, () => {
  let browser: Browser
  let program: Awaited<ReturnType<typeof bundleForRuntime>>
  beforeAll(async () => {
    browser = await launch(findBrowser() as string)
    program = await bundleForRuntime('../../examples/page/server.ts')
  })
  afterAll(async () => {
    await browser?.close()
    program?.remove()
  })

  describe.each(Object.entries(PAGES))('with %s', (_, bundle) => {
    let front: Server
    let server: Started
    let context: BrowserContext
    let page: Page
    let env: Readonly<Record<string, string>>
    let crashes: string[]

    beforeEach(async () => {
      crashes = []
      env = { PORT: String(await freePort()), DATA: mkdtempSync(join(tmpdir(), 'holdline-page-')) }
      front = await startFront(await bundle(), Number(env.PORT))
      await startServer()
      context = await browser.newContext()
      page = await openPage()
    })
    afterEach(async () => {
      expect(crashes).toEqual([])
      await context?.close()
      await server?.stop()
      front?.closeAllConnections()
      front?.close()
      rmSync(env.DATA as string, { recursive: true, force: true })
    })

    async function startServer() {
      server = start(process.execPath, [program.path], { env: { ...process.env, ...env } })
      await new Promise<void>((resolve) => server.onLine((line) => line === 'ready' && resolve()))
    }
    async function openPage() {
      const page = await context.newPage()
      page.on('pageerror', ({ message }) => crashes.push(message))
      await page.goto(`http://127.0.0.1:${(front.address() as AddressInfo).port}/`)
      return page
    }
    const login = (name: string) => page.click(`text=I am ${name}`)
    async function say(prompt: string) {
      await page.fill('input', prompt)
      await page.click('text=Send')
    }
    const said = () => page.locator('li').allTextContents()
    const tidy = async () => (await said()).map((text) => text.replace(/\s+/g, ' ').trim())
    const middle = () => expect.poll(said, PATIENCE).toContainEqual(expect.stringMatching(/agent: This is a simulated/))

    const statusOf = (path: string) => page.evaluate(async (path) => (await fetch(path)).status, path)

    test('an answer comes word by word, goes on after a reload, and a stop ends it', async () => {
      await login('ann')
      await say('one')
      await expect.poll(() => page.inputValue('input'), PATIENCE).toBe('')
      await middle()
      await page.reload()
      await expect.poll(tidy, PATIENCE).toEqual(['me: one', `agent: ${ANSWER('one')} finished`])
      await say('two')
      await page.click('text=Stop')
      await expect.poll(tidy, PATIENCE).toContainEqual(expect.stringMatching(/stopped$/))
    })

    test('a server that is killed in the middle: the page says so, keeps what is typed, and goes on with the next one', async () => {
      await login('ann')
      await say('one')
      await middle()
      await server.stop()
      await expect.poll(() => page.locator('[role=status]').textContent(), PATIENCE).toMatch(/Connecting|Trying again/)
      await say('two')
      await expect.poll(tidy, PATIENCE).toContainEqual(expect.stringMatching(/^me: two (queued|sending)/))
      const cut = (await tidy()).length
      // Who cannot be logged out is not shown as if.
      const dialog = page.waitForEvent('dialog').then((dialog) => dialog.accept().then(() => dialog.message()))
      await page.click('text=Log out')
      expect(await dialog).toContain('Not logged out')
      expect(await tidy()).toHaveLength(cut)
      await page.reload()
      await expect.poll(() => page.textContent('main'), PATIENCE).toContain('The server is down')
      await startServer()
      await expect.poll(tidy, PATIENCE).toContainEqual(`agent: ${ANSWER('two')} finished`)
      const all = await tidy()
      expect(all).toHaveLength(cut + 1)
      expect(all[1]).toMatch(/^agent: .*interrupted$/)
      expect(all[2]).toBe('me: two')
    })

    test('a prompt that the server refuses says why, and can be edited and sent again', async () => {
      await login('ann')
      await say('long '.repeat(500))
      await page.click('text=At most 2,000 characters')
      expect(await page.inputValue('input')).toBe('long '.repeat(500))
      await say('short')
      await expect.poll(tidy, PATIENCE).toEqual(['me: short', `agent: ${ANSWER('short')} finished`])
    })

    test('a logout in one tab ends the chat in the other, and the next user sees nothing of it', async () => {
      await login('ann')
      await say('secret')
      const other = await openPage()
      await expect.poll(() => other.textContent('main'), PATIENCE).toContain('secret')
      // What waits goes with the login.
      await page.route('**/chat/send', (route) => route.abort())
      await say('unsent')
      const stored = () => page.evaluate(() => JSON.stringify(localStorage))
      await expect.poll(stored, PATIENCE).toContain('unsent')
      const cookies = await context.cookies()
      await page.click('text=Log out')
      await expect.poll(() => other.textContent('main'), PATIENCE).toContain('I am ann')
      expect(await stored()).not.toContain('unsent')
      await page.unroute('**/chat/send')
      expect(await context.cookies()).toEqual([])
      // Who has kept the cookie has nothing of it.
      await context.addCookies(cookies)
      expect(await statusOf('/api/users/ann/history')).toBe(401)
      await context.clearCookies()
      await login('ben')
      await say('hello')
      await expect.poll(tidy, PATIENCE).toContain('me: hello')
      expect(await page.textContent('body')).not.toContain('secret')
      expect(await statusOf('/api/users/ann/history')).toBe(401)
    })

    test('nobody reads or writes in the chat of another', async () => {
      await login('ann')
      await say('hello')
      await expect.poll(tidy, PATIENCE).toContain('me: hello')
      expect(await statusOf('/api/users/ben/history')).toBe(401)
      await page.route('**/chat/send', (route) =>
        route.continue({ postData: route.request().postData()?.replace('"ann"', '"ben"') ?? null }),
      )
      const answer = page.waitForResponse('**/chat/send')
      await say('to ben')
      expect((await answer).status()).toBe(403)
    })
  })
})
