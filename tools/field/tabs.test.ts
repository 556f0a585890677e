import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { runTabs } from '../chaos/tabs/run'
import { findBrowser, launch, launchPlain } from '../shared/browser'
import {
  call,
  crash,
  type DevTools,
  freeze,
  hang,
  leaderOf,
  openTabs,
  share,
  shareWithWorker,
  startTabsSite,
  type TabPage,
  type TabsSite,
  type Told,
  tell,
  until,
} from '../shared/tabsSite'
import { bundleForPage } from './bundle'
import { ENGINES } from './engines'
import type { Engine, Tab } from './engines/engine'
import { onNode } from './place'
import { describeWith } from './tools'

// Real tabs over HTTP/1.1, which gives an origin six connections.

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

const hear = (count: number, pages: readonly TabPage[]) =>
  until(`${count} events`, (all) => all.every(({ seqs }) => seqs.length >= count), pages)

/** All of them have had so many events, each once and in order. */
async function expectWhole(count: number, pages: readonly TabPage[]) {
  for (const { seqs, flaws, errors } of await Promise.all(pages.map(tell)))
    expect([seqs, flaws, errors]).toEqual([range(1, count), [], []])
}

const executable = findBrowser()
describeWith(onNode('tabs of a real browser'), { chromium: executable }, () => {
  let script: string
  let browser: Browser
  let context: BrowserContext
  let site: TabsSite
  beforeAll(async () => {
    script = await bundleForPage('./page/tabs.ts')
    browser = await launch(executable as string)
  })
  beforeEach(async () => {
    site = await startTabsSite(script)
    context = await browser.newContext()
  })
  afterEach(async () => {
    await context.close()
    await site.close()
  })
  afterAll(() => browser?.close())

  const open = (count: number, search = '') => openTabs(context, site, count, search)
  const toolsOf = async (page: Page) => (await context.newCDPSession(page)) as DevTools
  /** So many tabs that share a line, the leader first. */
  async function sharing(count: number, search = '') {
    const pages = await open(count, search)
    await share(site, pages)
    await site.publish(10)
    await hear(10, pages)
    const leader = await leaderOf(pages)
    return { pages, leader, others: pages.filter((page) => page !== leader) }
  }

  test('the control: without sharing, six tabs are live and the seventh does not even load', async () => {
    const pages = await open(6, '?own')
    await until('six lines', (all) => all.every(({ phase }) => phase !== 'idle'), pages)
    const seventh = await context.newPage()
    await expect(seventh.goto(`${site.origin}/?own`, { timeout: 5_000 })).rejects.toThrow('Timeout')
  })

  test('eight tabs hold one stream, and all of them are live', async () => {
    const pages = await open(8)
    await share(site, pages)
    await site.publish(50)
    await hear(50, pages)
    for (const page of pages) await call(page, 'send', 5)
    await until('all verdicts', (all) => all.every(({ verdicts }) => verdicts.length === 5), pages)
    await expectWhole(50, pages)
    expect([site.server.mostStreams, site.prompts.length]).toEqual([1, 40])
  })

  test.each(['close', 'crash', 'navigate'])(
    'the leader goes (%s): nothing is lost, doubled or reordered',
    async (how) => {
      const { pages, leader, others } = await sharing(4)
      for (const page of others) await call(page, 'send', 20)
      if (how === 'close') await leader.close()
      else if (how === 'navigate') await leader.goto(`${site.origin}/other`)
      else crash(await toolsOf(leader))
      await site.publish(10)
      await share(site, others)
      await site.publish(10)
      await hear(30, others)
      await expectWhole(30, others)
      await until('all verdicts', (all) => all.every(({ verdicts }) => verdicts.length === 20), others)
      const verdicts = (await Promise.all(others.map(tell))).flatMap((told) => told.verdicts)
      expect([new Set(verdicts), site.prompts.length]).toEqual([new Set(['accepted']), 60])
      if (how !== 'navigate') return
      await leader.goBack({ waitUntil: 'commit' })
      await share(site, pages)
      await hear(30, pages)
      await expectWhole(30, pages)
      // It was in the back/forward cache, so a leader does not keep its page out of that.
      expect((await tell(leader)).comebacks).toBe(1)
    },
  )

  test('a leader that is frozen lets go at once, and follows when it is thawed', async () => {
    const plain = await launchPlain(executable as string)
    try {
      const pages = await openTabs(plain, site, 3)
      await share(site, pages)
      const leader = await leaderOf(pages)
      const others = pages.filter((page) => page !== leader)
      // It is the one in front.
      expect((await tell(leader)).visibility).toBe('visible')
      const thaw = await freeze((await leader.createCDPSession()) as DevTools)
      await site.publish(10)
      await share(site, others)
      await hear(10, others)
      await expectWhole(10, others)
      await thaw()
      await leader.bringToFront()
      await share(site, pages)
      await hear(10, pages)
      await expectWhole(10, pages)
    } finally {
      await plain.close()
    }
  })

  test('a leader that hangs keeps its lock and its stream: another tab takes over, and nothing is lost', async () => {
    const { pages, leader, others } = await sharing(3)
    const goOn = await hang(leader, await toolsOf(leader))
    await site.publish(10)
    const isTaken = (all: readonly Told[]) =>
      all.every(({ seqs, phase }) => seqs.length === 20 && phase === 'open') &&
      all.filter(({ role }) => role === 'leading').length === 1
    await until('another leader', isTaken, others)
    await goOn()
    await share(site, pages)
    await hear(20, pages)
    await expectWhole(20, pages)
  })

  test('the browser goes offline, and comes back', async () => {
    const { pages } = await sharing(4)
    await context.setOffline(true)
    // [Chromium] What is under way goes on.
    site.server.destroySockets()
    await until('all read closed', (all) => all.every(({ phase }) => phase !== 'open'), pages)
    await site.publish(10)
    for (const page of pages) await call(page, 'send', 5)
    await context.setOffline(false)
    await share(site, pages)
    await hear(20, pages)
    await until('all verdicts', (all) => all.every(({ verdicts }) => verdicts.length === 5), pages)
    for (const { seqs, verdicts } of await Promise.all(pages.map(tell)))
      expect([seqs, verdicts]).toEqual([range(1, 20), range(1, 5).map(() => 'accepted')])
    expect(site.prompts).toHaveLength(20)
  })

  test('behind the service worker of another app: one stream, and it ends with the tab that holds it', async () => {
    const [first] = await open(1, 'register')
    await first?.evaluate('isControlled')
    await first?.close()
    const { pages, leader, others } = await sharing(8)
    expect((await Promise.all(pages.map(tell))).every(({ isControlled }) => isControlled)).toBe(true)
    crash(await toolsOf(leader))
    await site.publish(10)
    await share(site, others)
    await hear(20, others)
    await expectWhole(20, others)
  })

  test('a shared worker leads, whichever page is closed; when it ends a page does', async () => {
    const pages = await open(8, '?worker')
    await shareWithWorker(site, pages)
    await site.publish(10)
    await hear(10, pages)
    const [first, ...others] = pages
    await first?.close()
    await site.publish(10)
    await hear(20, others)
    await expectWhole(20, others)
    expect(new Set((await Promise.all(others.map(tell))).map(({ role }) => role))).toEqual(new Set(['following']))
    await call(others[0] as Page, 'endWorker')
    await site.publish(10)
    await share(site, others)
    await hear(30, others)
    await expectWhole(30, others)
  })

  test('two builds that speak different versions have a line each, until the last tab of the old one goes', async () => {
    const old = await open(2)
    await share(site, old)
    site.script = script.replace(/(TABS_VERSION\d* = )1;/, '$12;')
    expect(site.script).not.toBe(script)
    const young = await open(2)
    await until('all are open', (all) => all.every(({ phase }) => phase === 'open'), [...old, ...young])
    await site.publish(10)
    await hear(10, [...old, ...young])
    const roles = (await Promise.all([...old, ...young].map(tell))).map(({ role }) => role)
    expect([roles.toSorted(), site.server.streams]).toEqual([['following', 'following', 'leading', 'leading'], 2])
    for (const page of old) await page.reload()
    await share(site, [...old, ...young])
    await site.publish(10)
    await hear(20, [...old, ...young])
    await expectWhole(20, [...old, ...young])
  })

  test('4 kills under load: 0 lost, 0 doubled, 0 reordered', async () => {
    const { violations } = await runTabs({ kills: 4, seconds: 24, sends: 400, events: 2_000, worker: false, seed: 1 })
    expect(violations).toEqual([])
  })
})

for (const { name, tools, launch } of ENGINES) {
  describeWith(onNode(`tabs in ${name}, each opened in front`, { client: name }), tools, () => {
    let engine: Engine
    let site: TabsSite
    beforeAll(async () => {
      site = await startTabsSite(await bundleForPage('./page/tabs.ts'))
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
