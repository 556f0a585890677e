import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Browser, BrowserContext } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { freePort } from '../shared/freePort'
import { hasRedis, type RedisServer, startRedis } from '../shared/redisServer'
import { cuttable } from './runtimes/cuttable'
import { createStarter, LOGS, type Starter } from './starter/starter'
import { counted, openStarter, type StarterPage } from './starter/starterPage'
import { describeWith, findPackage } from './tools'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const DOT = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)
const PATIENCE = { timeout: 60_000 }
/** The first one packs the library, and so builds it. ms. */
const PACKING = 600_000

const tools = {
  vite: findPackage('vite'),
  '@vitejs/plugin-react': findPackage('@vitejs/plugin-react'),
  chromium: findBrowser(),
}

describeWith(
  'examples/app, as it is in the package',
  { ...tools, redis: hasRedis ? 'redis-server' : undefined },
  () => {
    let browser: Browser
    beforeAll(async () => {
      browser = await launch(findBrowser() as string)
    })
    afterAll(() => browser?.close())

    describe.each(LOGS)('with its log in %s', (log) => {
      let starter: Starter
      let redis: RedisServer | undefined
      let network: Awaited<ReturnType<typeof cuttable>>
      let server: Awaited<ReturnType<Starter['start']>>
      let context: BrowserContext
      let ann: StarterPage
      let origin: string
      /** Of Ann's, below the path of its session. */
      let file: string
      let variables: Readonly<Record<string, string>>

      beforeAll(async () => {
        starter = createStarter(log)
        if (log === 'redis') redis = await startRedis()
        const port = await freePort()
        network = await cuttable(port)
        origin = `http://127.0.0.1:${network.port}`
        const own = { PORT: String(port), APP_ORIGIN: origin, APP_SECRET: 's', APP_USERS: 'ann:ann,ben:ben' }
        variables = { ...own, ...(redis && { REDIS_URL: redis.url }) }
      }, PACKING)
      afterAll(async () => {
        await context?.close()
        await server?.stop('SIGKILL')
        await network?.close()
        await redis?.stop()
        starter?.remove()
      })

      test('its types are right, its own tests pass, and it is built', async () => {
        for (const script of ['typecheck', 'test', 'build']) {
          const { code, output } = await starter.run(script)
          expect([script, code, output]).toEqual([script, 0, expect.any(String)])
        }
      })

      test('it says which setting is missing', async () => {
        await expect(starter.start({ ...variables, APP_SECRET: '' })).rejects.toThrow(/APP_SECRET is not set/)
      })

      test('a login, and an answer that streams', async () => {
        server = await starter.start(variables)
        context = await browser.newContext()
        ann = await openStarter(context, origin)
        await ann.logIn('ann', 'wrong')
        await ann.body().toContain('Name or password is wrong.')
        await ann.logIn('ann')
        await ann.status().toContain('Online')
        await ann.newChat()
        await ann.say('count to 5')
        await ann.said().toEqual(['You: count to 5', `Agent: ${counted(5)}`])
        await expect.poll(() => ann.page.locator('nav li').allTextContents(), PATIENCE).toEqual(['count to 5'])
      })

      test('the network is cut in the middle of an answer, and a prompt is typed meanwhile: nothing is lost, doubled or out of order', async () => {
        await ann.newChat()
        await ann.say('count to 80')
        await ann.said().toEqual(['You: count to 80', expect.stringContaining(counted(9))])
        network.down()
        await ann.say('count to 3')
        await ann.notes().toEqual(['Waiting'])
        await ann.status().toMatch(/Messages do not get through\.Trying again in \d+ s/)
        network.up()
        const all = ['You: count to 80', `Agent: ${counted(80)}`, 'You: count to 3', `Agent: ${counted(3)}`]
        await ann.said().toEqual(all)
        await ann.notes().toEqual([])
        // So it is for who comes later.
        await ann.page.reload()
        await ann.said().toEqual(all)
      })

      test('a reload in the middle of an answer: it goes on, whole', async () => {
        await ann.newChat()
        await ann.say('count to 80')
        await ann.said().toEqual(['You: count to 80', expect.stringContaining(counted(9))])
        await ann.page.reload()
        await ann.said().toEqual(['You: count to 80', `Agent: ${counted(80)}`])
      })

      test('a stop ends the answer, and the next one comes', async () => {
        await ann.newChat()
        await ann.say('count to 900')
        await ann.said().toEqual(['You: count to 900', expect.stringContaining(counted(9))])
        await ann.press('Stop')
        await ann.notes().toEqual(['Stopped.'])
        await ann.say('count to 2')
        await ann
          .said()
          .toEqual(['You: count to 900', expect.stringMatching(/^Agent: 1 2 /), 'You: count to 2', 'Agent: 1 2 '])
      })

      test('a picture and a document are uploaded, named by a message, and shown; what is neither is refused', async () => {
        await ann.newChat()
        await ann.attach('virus.exe', 'image/png', Buffer.from([0x4d, 0x5a, 0x90, 0x00]))
        await ann.body().toContain('virus.exe was not uploaded: it is neither a picture, nor a PDF, nor text.')
        await ann.press('Remove virus.exe')
        await ann.attach('film.png', 'image/png', Buffer.concat([DOT, Buffer.alloc(10 * 1_048_576)]))
        await ann.body().toContain('film.png was not uploaded: it is larger than 10 MiB.')
        await ann.press('Remove film.png')
        await ann.attach('dot.png', 'image/png', DOT)
        await ann.attach('note.html', 'text/html', Buffer.from('<script>alert(1)</script>'))
        await expect.poll(() => ann.page.locator('.attachments .ready').count(), PATIENCE).toBe(2)
        await ann.say('look')
        await ann
          .said()
          .toEqual(['You: look', expect.stringMatching(/dot\.png \(image\/png, 70 bytes\).*note\.html \(text/)])
        const widthOf = () =>
          ann.page.locator('li.user img').evaluate((image) => (image as HTMLImageElement).naturalWidth)
        await expect.poll(widthOf, PATIENCE).toBe(1)
        const path = String(await ann.page.getByRole('link', { name: /note\.html/ }).getAttribute('href'))
        file = path.slice(path.indexOf('files/'))
        const answer = await context.request.get(origin + path)
        expect(answer.headers()).toMatchObject({
          'content-type': 'text/plain; charset=utf-8',
          'content-disposition': "attachment; filename*=UTF-8''note.html",
          'content-security-policy': "default-src 'none'; sandbox",
          'x-content-type-options': 'nosniff',
        })
        const stranger = await browser.newContext()
        expect((await stranger.request.get(origin + path)).status()).toBe(401)
        await stranger.close()
      })

      test('a prompt that is refused says why, and is sent again, or dismissed', async () => {
        await ann.newChat()
        const refusal = { status: 409, json: { error: 'busy' } }
        await ann.page.route(/\/chat\/send$/, (route) => route.fulfill(refusal), { times: 2 })
        for (const prompt of ['count to 2', 'never mind']) await ann.say(prompt)
        const note = 'Not sent: too many of your messages wait for an answer'
        await ann.notes().toEqual([note, note])
        await ann.page.getByRole('button', { name: 'Dismiss' }).last().click()
        await ann.said().toEqual(['You: count to 2'])
        await ann.press('Try again')
        await ann.said().toEqual(['You: count to 2', 'Agent: 1 2 '])
        await ann.notes().toEqual([])
      })

      test('a login that expires is asked for again, over the page as it is', async () => {
        await ann.page.getByLabel('Message', { exact: true }).fill('half a thought')
        await context.clearCookies()
        network.cut()
        await ann.body().toContain('Your login has expired')
        await ann.page.getByLabel('Password').fill('ann')
        await ann.press(/^Log in$/)
        await ann.status().toContain('Online')
        expect(await ann.page.getByLabel('Message', { exact: true }).inputValue()).toBe('half a thought')
      })

      test('a server that is killed in the middle of an answer: what was said is there, and the answer is said to be interrupted', async () => {
        await ann.newChat()
        await ann.say('count to 4')
        await ann.said().toEqual(['You: count to 4', `Agent: ${counted(4)}`])
        await ann.say('count to 900')
        await ann.said().toContainEqual(expect.stringContaining(counted(40)))
        await server.stop('SIGKILL')
        server = await starter.start(variables)
        await ann.notes().toEqual([expect.stringContaining('The answer was interrupted')])
        await ann.say('count to 2')
        await ann.notes().toHaveLength(1)
        await ann
          .said()
          .toEqual([
            'You: count to 4',
            `Agent: ${counted(4)}`,
            'You: count to 900',
            expect.stringMatching(/^Agent: 1 2 3 /),
            'You: count to 2',
            'Agent: 1 2 ',
          ])
      })

      test('a logout reaches every tab, and the next user of the browser finds nothing of the first', async () => {
        const address = ann.page.url()
        const other = await openStarter(context, address)
        await other.status().toContain('Online')
        // A message that waits, and is stored.
        await other.page.route(/\/chat\/(send|batch)$/, (route) => route.abort())
        await other.say('a secret')
        const kept = () => ann.page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))
        await expect.poll(kept, PATIENCE).toContain('a secret')
        await ann.press('Log out ann')
        for (const { page } of [ann, other]) await page.getByLabel('Name').waitFor(PATIENCE)
        await expect.poll(kept, PATIENCE).toBe('{}')
        expect(ann.crashes).toEqual([])
        await ann.logIn('ben')
        await ann.status().toContain('Online')
        expect(await ann.page.locator('nav li').count()).toBe(0)
        await ann.page.goto(address)
        await ann.body().toContain('There is no such chat, or it is not yours.')
        const session = new URL(address).pathname.slice('/s/'.length)
        const statusOf = async (path: string) => (await context.request.get(`${origin}/api/users/${path}`)).status()
        expect(await statusOf(`ann/sessions/${session}/history`)).toBe(401)
        expect(await statusOf(`ben/sessions/${session}/history`)).toBe(404)
        const own = await (await context.request.post(`${origin}/api/users/ben/sessions`)).json()
        expect(await statusOf(`ben/sessions/${own.id}/history`)).toBe(200)
        expect(await statusOf(`ben/sessions/${own.id}/${file}`)).toBe(404)
        const elsewhere = { headers: { Origin: 'https://evil.example' } }
        expect((await context.request.post(`${origin}/api/logout`, elsewhere)).status()).toBe(403)
      })
    })

    describe('in development', () => {
      let starter: Starter
      let vite: Awaited<ReturnType<Starter['develop']>>
      let origin: string
      beforeAll(async () => {
        starter = createStarter('memory')
        const [page, port] = [await freePort(), await freePort()]
        origin = `http://127.0.0.1:${page}`
        vite = await starter.develop(page, { PORT: String(port) })
        await vi.waitFor(() => expect(vite.output()).toContain('The server half is ready'), PATIENCE)
      }, PACKING)
      afterAll(async () => {
        await vite?.stop()
        starter?.remove()
      })

      test.each([
        ['on a phone', { viewport: { width: 390, height: 844 } }],
        ['on a phone in the dark', { viewport: { width: 390, height: 844 }, colorScheme: 'dark' }],
        ['on a desk', { viewport: { width: 1440, height: 900 } }],
      ] as const)('axe finds no fault %s, and nothing is wider than the page', async (_, view) => {
        const context = await browser.newContext({ ...view, bypassCSP: true })
        const page = await openStarter(context, origin)
        const look = async () => {
          await page.page.evaluate(AXE)
          const faults = await page.page.evaluate(async () => {
            const { violations } = await (globalThis as unknown as { axe: { run(): Promise<Axe> } }).axe.run()
            return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
          })
          const overflow = await page.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
          expect([faults, overflow]).toEqual([[], 0])
        }
        await page.page.getByLabel('Name').waitFor(PATIENCE)
        await look()
        await page.logIn('ann')
        await page.status().toContain('Online')
        await page.newChat()
        await page.attach('dot.png', 'image/png', DOT)
        await expect.poll(() => page.page.locator('.attachments .ready').count(), PATIENCE).toBe(1)
        await page.say('a-very-long-word-'.repeat(20))
        await page.said().toHaveLength(2)
        await look()
        await context.close()
      })

      test('npm run dev: a change of the server half starts it anew, and the page comes back by itself', async () => {
        const context = await browser.newContext()
        const page = await openStarter(context, origin)
        await page.logIn('ben')
        await page.status().toContain('Online')
        await page.newChat()
        await page.say('count to 3')
        await page.said().toEqual(['You: count to 3', 'Agent: 1 2 3 '])
        const agent = join(starter.folder, 'server/agent.ts')
        writeFileSync(agent, readFileSync(agent, 'utf8').replace(/`(?=\$\{index)/, '`no '))
        await expect.poll(() => vite.output().match(/is ready/g)?.length, PATIENCE).toBe(2)
        await page.say('count to 2')
        await page.said().toEqual(['You: count to 3', 'Agent: 1 2 3 ', 'You: count to 2', 'Agent: no 1 no 2 '])
        expect(page.crashes).toEqual([])
        await context.close()
      })
    })
  },
)

interface Axe {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string }[] }[]
}
