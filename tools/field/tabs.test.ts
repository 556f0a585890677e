import { createChatServer } from 'holdline/server'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { listen } from '../shared/listen'
import { bundleForPage } from './bundle'
import { ENGINES } from './engines'
import type { Engine, Tab } from './engines/engine'
import { onNode } from './place'
import { describeWith } from './tools'

// Real tabs over HTTP/1.1, which gives an origin six connections.

interface Told {
  readonly role: string
  readonly phase: string
  readonly visibility: string
  readonly seqs: readonly number[]
  readonly verdicts: readonly string[]
  readonly errors: readonly string[]
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

async function startSite(script: string) {
  const prompts: unknown[] = []
  const chat = createChatServer({
    authenticate: () => ({ id: 'me' }),
    authorize: () => true,
    onCommand: ({ message }) => void prompts.push(message.prompt),
  })
  const server = await listen((request) => {
    const { pathname } = new URL(request.url)
    if (pathname.startsWith('/api/')) return chat.fetch(request)
    return pathname === '/page.js'
      ? new Response(script, { headers: { 'Content-Type': 'text/javascript' } })
      : new Response('<!doctype html><script type="module" src="/page.js"></script>', {
          headers: { 'Content-Type': 'text/html' },
        })
  })
  return {
    server,
    origin: new URL(server.url).origin,
    prompts,
    async publish(count: number) {
      for (let index = 0; index < count; index++) await chat.publish('s1', { type: 'token' })
    },
    async close() {
      await chat.close()
      await server.close()
    },
  }
}

const executable = findBrowser()
describeWith(onNode('tabs of a real browser'), { chromium: executable }, () => {
  let script: string
  let browser: Browser
  let context: BrowserContext
  let site: Awaited<ReturnType<typeof startSite>>
  beforeAll(async () => {
    script = await bundleForPage('./page/tabs.ts')
    browser = await launch(executable as string)
  })
  beforeEach(async () => {
    site = await startSite(script)
    context = await browser.newContext()
  })
  afterEach(async () => {
    await context.close()
    await site.close()
  })
  afterAll(() => browser?.close())

  const tell = (page: Page) => page.evaluate(() => (globalThis as unknown as { tell(): Told }).tell())
  async function until(what: string, isMet: (all: readonly Told[]) => boolean, pages: readonly Page[]) {
    const start = performance.now()
    for (;;) {
      const all = await Promise.all(pages.map(tell))
      if (isMet(all)) return performance.now() - start
      const seen = all.map(({ role, phase, seqs }) => `${role} ${phase} ${seqs.length}`)
      if (performance.now() - start > 30_000) throw new Error(`never happened: ${what} (${seen.join(', ')})`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  async function open(count: number, search = '') {
    const pages: Page[] = []
    for (let index = 0; index < count; index++) {
      const page = await context.newPage()
      await page.goto(`${site.origin}/${search}`)
      pages.push(page)
    }
    return pages
  }
  const isShared = (all: readonly Told[]) =>
    all.every(({ phase }) => phase === 'open') &&
    all.filter(({ role }) => role === 'leading').length === 1 &&
    site.server.streams === 1
  const share = (pages: readonly Page[]) => until('one line', isShared, pages)
  const hear = (count: number, pages: readonly Page[]) =>
    until(`${count} events`, (all) => all.every(({ seqs }) => seqs.length >= count), pages)
  async function leaderOf(pages: readonly Page[]): Promise<Page> {
    const all = await Promise.all(pages.map(tell))
    return pages[all.findIndex(({ role }) => role === 'leading')] as Page
  }
  async function expectWhole(count: number, pages: readonly Page[]) {
    for (const { seqs, errors } of await Promise.all(pages.map(tell)))
      expect([seqs, errors]).toEqual([range(1, count), []])
  }

  test('the control: without sharing, six tabs are live and the seventh does not even load', async () => {
    const pages = await open(6, '?own')
    await until('six lines', (all) => all.every(({ phase }) => phase !== 'idle'), pages)
    const seventh = await context.newPage()
    await expect(seventh.goto(`${site.origin}/?own`, { timeout: 5_000 })).rejects.toThrow('Timeout')
  })

  test('eight tabs hold one stream, and all of them are live', async () => {
    const pages = await open(8)
    await share(pages)
    await site.publish(50)
    await hear(50, pages)
    await expectWhole(50, pages)
    expect(site.server.mostStreams).toBe(1)
  })

  test.each(['close', 'crash', 'navigate'])(
    'the leader goes (%s): nothing is lost, doubled or reordered',
    async (how) => {
      const pages = await open(4)
      await share(pages)
      await site.publish(10)
      await hear(10, pages)
      const leader = await leaderOf(pages)
      const others = pages.filter((page) => page !== leader)
      for (const page of others)
        await page.evaluate(() => (globalThis as unknown as { send(n: number): void }).send(20))
      if (how === 'close') await leader.close()
      else if (how === 'navigate') await leader.goto('about:blank')
      else {
        const session = await context.newCDPSession(leader)
        session.send('Page.crash').catch(() => {})
      }
      await site.publish(10)
      await share(others)
      await site.publish(10)
      await hear(30, others)
      await expectWhole(30, others)
      await until('all verdicts', (all) => all.every(({ verdicts }) => verdicts.length === 20), others)
      const verdicts = (await Promise.all(others.map(tell))).flatMap((told) => told.verdicts)
      expect([new Set(verdicts), site.prompts.length]).toEqual([new Set(['accepted']), 60])
      if (how !== 'navigate') return
      await leader.goBack({ waitUntil: 'commit' })
      await share(pages)
      await hear(30, pages)
      await expectWhole(30, pages)
    },
  )

  test('a shared worker leads, whichever page is closed', async () => {
    const pages = await open(3, '?worker')
    await until(
      'the worker leads',
      (all) => all.every(({ role, phase }) => role === 'following' && phase === 'open') && site.server.streams === 1,
      pages,
    )
    await site.publish(10)
    await hear(10, pages)
    await pages[0]?.close()
    const others = pages.slice(1)
    await site.publish(10)
    await hear(20, others)
    for (const { seqs } of await Promise.all(others.map(tell))) expect(seqs).toEqual(range(1, 20))
    expect((await Promise.all(others.map(tell))).map(({ role }) => role)).toEqual(['following', 'following'])
  })
})

for (const { name, tools, launch } of ENGINES) {
  describeWith(onNode(`tabs in ${name}, each opened in front`, { client: name }), tools, () => {
    let engine: Engine
    let site: Awaited<ReturnType<typeof startSite>>
    beforeAll(async () => {
      site = await startSite(await bundleForPage('./page/tabs.ts'))
      engine = await launch()
    })
    afterAll(async () => {
      await engine?.close()
      await site?.close()
    })

    test('they share a stream, one that is seen leads, and its end loses nothing', async () => {
      const told = (tab: Tab) => tab.evaluate<Told>('tell()')
      const until = async (what: string, tabs: readonly Tab[], isMet: (all: readonly Told[]) => boolean) => {
        for (const end = performance.now() + 30_000; ; ) {
          const all: Told[] = []
          for (const tab of tabs) all.push(await told(tab))
          if (isMet(all)) return
          const seen = all.map(({ role, phase, seqs, errors }) => `${role} ${phase} ${seqs.length} ${errors}`)
          if (performance.now() > end) throw new Error(`never happened: ${what} (${seen.join(', ')})`)
        }
      }
      const tabs: Tab[] = []
      for (let index = 0; index < 3; index++) {
        tabs.push(await engine.open(`${site.origin}/`))
        await until('one line, and a tab leads that is seen', tabs, (all) => {
          const seen = all.filter(({ role }) => role === 'leading').map(({ visibility }) => visibility)
          return seen.join() === 'visible' && all.every(({ phase }) => phase === 'open') && site.server.streams === 1
        })
        await site.publish(5)
      }
      await until('15 events', tabs, (all) => all.every(({ seqs }) => seqs.length === 15))
      const roles: string[] = []
      for (const tab of tabs) roles.push((await told(tab)).role)
      const [leader] = tabs.splice(roles.indexOf('leading'), 1)
      await leader?.close()
      await site.publish(5)
      await until('20 events', tabs, (all) => all.every(({ seqs, phase }) => seqs.length === 20 && phase === 'open'))
      for (const tab of tabs) expect((await told(tab)).seqs).toEqual(range(1, 20))
      expect(site.server.streams).toBe(1)
      for (const tab of tabs) await tab.close()
    })
  })
}
