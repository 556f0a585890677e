import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Connection, Trace } from 'holdline'
import { formatTrace, parseTrace, replayTrace } from 'holdline/inspect'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { expect } from 'vitest'
import { MISHAPS } from '../events'
import { createChat } from './_page'
import { describePage, pageTest } from './_pageTest'

declare global {
  /** The page leaves it there for the console. */
  var connection: Connection
  /** By the tests. */
  var told: string[]
  var looks: { readonly phase: string; readonly lit: string }[]
}

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

const test = pageTest.override('options', { lateMs: 500, heartbeat: 400 })

describePage('the chart of the page in a real Chromium', { concurrent: false }, () => {
  test('the lit state is the phase of the connection, at every look, through every mishap', async ({
    profile,
    site,
  }) => {
    const page = await profile.newPage()
    // Seven failures in a row would make for long waits.
    await page.addInitScript(() => {
      Math.random = () => 0.02
    })
    await page.goto(site.url)
    const chat = createChat(page)
    await chat.phase('open')
    await chat.page.evaluate(() => {
      globalThis.looks = []
      setInterval(() => {
        const lit = document.querySelector<SVGElement>('#frame > svg > g > .lit.leaf')?.dataset.state ?? 'none'
        const { phase } = connection
        const last = looks.at(-1)
        if (last?.phase !== phase || last.lit !== lit) looks.push({ phase, lit })
      }, 1)
    })
    await chat.write('a long story')
    for (const mishap of MISHAPS) {
      const skip = (await chat.log()).length
      await chat.cause(mishap)
      await chat.logged([`mishap ${mishap}`, 'closed', 'opened'], skip)
    }
    await chat.page.click('#wake')
    await chat.page.click('#disconnect')
    await chat.phase('idle')
    await chat.page.click('#connect')
    await chat.phase('open')
    const looks = await chat.page.evaluate(() => globalThis.looks)
    expect(looks.filter(({ phase, lit }) => !lit.split('.').includes(phase))).toEqual([])
    const seen = new Set(looks.map(({ phase }) => phase))
    for (const phase of ['idle', 'reconnecting', 'open', 'backoff']) expect(seen).toContain(phase)
  })

  test('the transition that was taken last is traced, and its states around are lit', async ({ chat }) => {
    await chat.page.click('#disconnect')
    await chat.phase('idle')
    expect(await taken(chat.page)).toEqual([['disconnect', 'active', 'idle']])
    expect(await lit(chat.page)).toEqual(['idle'])
    await chat.page.click('#connect')
    await chat.phase('open')
    expect(await lit(chat.page)).toEqual([
      'active',
      'active.streaming',
      'active.streaming.open',
      'active.streaming.open.steady',
    ])
  })

  test('a refused event is seen where it was refused, and is struck through in the timeline', async ({ chat }) => {
    await chat.page.click('#disconnect')
    await chat.phase('idle')
    await chat.page.click('#wake')
    await chat.page.waitForSelector('.refusing[data-state="idle"]')
    expect(await chat.page.textContent('.refusal')).toBe('✕ wake')
    expect(await chat.page.textContent('#timeline li:first-child s')).toBe('wake')
    // What is lit stays lit: nothing has moved.
    expect(await lit(chat.page)).toEqual(['idle'])
    expect(await taken(chat.page)).toEqual([['disconnect', 'active', 'idle']])
    await chat.page.waitForSelector('.refusal', { state: 'detached' })
  })

  test('a running timer counts down at its state, and is gone with it', async ({ chat }) => {
    const stable = () => chat.page.textContent('[data-event*="stableDelay"]')
    const left = async () => Number(/(\d\.\d)s$/.exec((await stable()) ?? '')?.[1])
    const first = await left()
    expect(first).toBeLessThanOrEqual(5)
    await expect.poll(left).toBeLessThan(first - 0.3)
    await chat.page.click('#disconnect')
    await expect.poll(stable).toMatch(/resetAttempts$/)
  })

  test('the slider steps back through the trace while the connection goes on, by keyboard too; Live returns', async ({
    chat,
  }) => {
    await chat.page.click('#disconnect')
    await chat.phase('idle')
    await chat.page.focus('#scrub')
    await chat.page.keyboard.press('Home')
    for (const index of [0, 1, 2]) {
      const step = (await traceOf(chat.page)).steps[index]
      expect(await chat.page.getAttribute('#scrub', 'aria-valuetext')).toContain(`step ${index + 1} of`)
      expect((await lit(chat.page)).at(-1)).toEqual(step?.machine === 'connection' ? step.to : expect.anything())
      await chat.page.keyboard.press('ArrowRight')
    }
    await chat.page.keyboard.press('Home')
    const past = await lit(chat.page)
    await chat.page.click('#connect')
    await chat.phase('open')
    expect(await lit(chat.page)).toEqual(past)
    await chat.page.click('#live')
    expect((await lit(chat.page)).at(-1)).toBe('active.streaming.open.steady')
  })

  test('a trace that the page saved replays identically in Node, and in the page', async ({ chat }) => {
    await chat.write('a long story')
    for (const mishap of ['fail-resume', 'late-resume', 'second-welcome'] as const) {
      const skip = (await chat.log()).length
      await chat.cause(mishap)
      await chat.logged(['closed', 'opened'], skip)
    }
    await chat.page.click('#disconnect')
    await chat.phase('idle')
    const file = await save(chat.page)
    const trace = parseTrace(await readFile(file, 'utf8'))
    expect(trace).toEqual(parseTrace(JSON.stringify(await traceOf(chat.page))))
    expect(replayTrace(trace)).toEqual({ steps: trace.steps.length, divergence: null })

    await chat.page.setInputFiles('#file', file)
    await chat.page.waitForSelector('#verdict:has-text("decides the same")')
    expect(await lit(chat.page)).toEqual(['idle'])
    expect(chat.crashes).toEqual([])
  })

  test('a loaded trace shows where the machine of this page decides otherwise; what is no trace is told', async ({
    chat,
  }) => {
    const trace = await traceOf(chat.page)
    const index = trace.steps.findIndex(({ event }) => event === 'stream.opened')
    // As of a version that refused it.
    const steps = trace.steps.map((step, at) => {
      if (at === index) return { ...step, to: step.from, refused: true }
      return at === index + 1 ? { ...step, from: 'active.streaming.connecting' } : step
    })
    await load(chat.page, 'other.json', JSON.stringify({ ...trace, steps }))
    await chat.page.waitForSelector('#verdict.otherwise')
    expect(await chat.page.textContent('#verdict')).toContain(
      `At step ${index + 1} the machine of this page decides otherwise`,
    )
    expect(await chat.page.textContent('#timeline .otherwise')).toContain('→ active.streaming.awaitingWelcome')
    expect(await chat.page.getAttribute('#scrub', 'aria-valuetext')).toContain(`step ${index + 1} of`)

    await load(chat.page, 'cat.json', '{"format":"cat"}')
    await chat.page.waitForSelector('#verdict:has-text("cat.json is no trace")')
    await chat.page.click('#live')
    expect((await lit(chat.page)).at(-1)).toBe('active.streaming.open.steady')
  })

  test('a mishap hits the client that is chosen, and the chart compares the two', async ({ chat }) => {
    await chat.write('a short one')
    await chat.finished(1)
    await chat.page.click('#second')
    await chat.page.waitForSelector('[data-client="B"][data-phase="open"]')
    await expect
      .poll(() => chat.page.textContent('[data-client="B"] .client-seq'))
      .toBe(await chat.page.textContent('[data-client="A"] .client-seq'))
    const skip = (await chat.log()).length
    await chat.page.check('[data-client="B"] input')
    await chat.cause('drop')
    await chat.logged(['mishap drop, to B', 'closed B: failed', 'opened B'], skip)
    expect((await chat.log()).slice(skip).filter((entry) => entry.startsWith('closed A'))).toEqual([])

    await chat.page.click('#disconnect')
    await chat.page.waitForSelector('[data-client="B"][data-phase="idle"]')
    expect(await lit(chat.page)).toEqual(['idle'])
    const other = await chat.page.$$eval('.other.leaf', (states) =>
      states.map((state) => state.getAttribute('data-state')),
    )
    expect(other).toEqual(['active.streaming.open.steady'])
    await chat.page.click('#second')
    expect(await chat.page.$$('.client')).toHaveLength(1)
    expect(chat.crashes).toEqual([])
  })

  test('the trace is copied as text', async ({ chat }) => {
    await chat.page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    await chat.page.click('#copy')
    await chat.page.waitForSelector('#verdict:has-text("Copied")')
    const text = await chat.page.evaluate(() => navigator.clipboard.readText())
    expect(text).toBe(formatTrace(await traceOf(chat.page)))
  })

  test('nothing is asked of any other server', async ({ chat, site }) => {
    const elsewhere: string[] = []
    chat.page.on('request', (request) => {
      if (!request.url().startsWith(site.url)) elsewhere.push(request.url())
    })
    await chat.page.reload()
    await chat.phase('open')
    await chat.write('a short one')
    await chat.finished(1)
    await chat.cause('drop')
    await chat.logged(['closed failed', 'opened'])
    expect(elsewhere).toEqual([])
  })

  test('the inspector opens in a window of its own, is told what there was before it, and nothing that is said', async ({
    profile,
    site,
  }) => {
    const page = await profile.newPage()
    await page.addInitScript(() => {
      globalThis.told = []
      // The inspector's page, as far as it takes part.
      window.open = (url) => {
        told.push(String(url))
        return { postMessage: (data: unknown) => told.push(JSON.stringify(data)) } as unknown as Window
      }
    })
    await page.goto(site.url)
    const chat = createChat(page)
    await chat.phase('open')
    await chat.write('a short secret')
    await chat.finished(1)
    await page.click('#inspect')
    await page.waitForFunction(() => told.length > 0)
    await page.evaluate(() => dispatchEvent(new MessageEvent('message', { data: { type: '@statelyai.connected' } })))
    const all = () => page.evaluate(() => told.join('\n'))
    await expect.poll(all).toContain('awaitingWelcome')
    await chat.cause('drop')
    await expect.poll(all).toContain('stream.failed')
    expect(await all()).toMatch(/^https:\/\/stately\.ai\//)
    expect(await all()).not.toContain('secret')
  })

  test('every text of both charts is at least 12 px high on a screen of 1440 × 900, as a whole and in detail; what is lit is in sight', async ({
    browser,
    site,
  }) => {
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' })
    await page.goto(site.url)
    await createChat(page).phase('open')
    const inDetail = await heights(page)
    expect(inDetail.length).toBeGreaterThan(80)
    expect(inDetail.filter(({ height }) => height < 12)).toEqual([])
    expect(new Set(inDetail.map(({ chart }) => chart)).size).toBe(2)
    expect(await isInSight(page)).toBe(true)
    await page.click('#disconnect')
    await page.waitForSelector('.lit[data-state="idle"]')
    expect(await isInSight(page)).toBe(true)

    await page.click('#whole')
    const asWhole = await heights(page)
    expect(asWhole.filter(({ height }) => height < 12)).toEqual([])
    const frame = await page.$eval('#frame', ({ scrollHeight, clientHeight }) => scrollHeight - clientHeight)
    expect(frame).toBeLessThanOrEqual(0)
    await page.close()
  })

  const VIEWS: Record<string, BrowserContextOptions> = {
    'on a desk': { viewport: { width: 1280, height: 800 } },
    'in the dark': { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' },
    'on a tablet': { viewport: { width: 768, height: 1024 }, hasTouch: true },
    'on a phone': { viewport: { width: 390, height: 844 }, hasTouch: true },
    'on a phone in the dark': { viewport: { width: 390, height: 844 }, hasTouch: true, colorScheme: 'dark' },
  }
  test.for(Object.keys(VIEWS))('axe finds no accessibility fault %s', async (view, { browser, site }) => {
    const page = await browser.newPage({ ...VIEWS[view], reducedMotion: 'reduce' })
    await page.goto(site.url)
    const chat = createChat(page)
    await chat.phase('open')
    await chat.write('a long story')
    await chat.heard(20)
    await chat.cause('restart')
    await page.waitForSelector('.break')
    await page.click('#tour-open')
    if (VIEWS[view]?.hasTouch) await page.click('#panes [data-pane="chart"]')
    await page.click('#second')
    await page.click('#disconnect')
    await page.click('#wake')
    const faults: string[] = []
    await page.evaluate(await readFile(AXE, 'utf8'))
    // A desk shows all panes at once, a phone one of them.
    for (const pane of VIEWS[view]?.hasTouch ? ['chat', 'chart', 'record'] : ['record']) {
      if (VIEWS[view]?.hasTouch) await page.click(`#panes [data-pane="${pane}"]`)
      if (VIEWS[view]?.hasTouch && pane === 'chat') await page.click('#explain')
      for (const tab of pane === 'record' ? ['timeline', 'log', 'facts'] : ['']) {
        if (tab) await page.click(`#tab-${tab}`)
        // The rest of the page has been looked at with the first tab.
        faults.push(...(await findFaults(page, tab === 'log' || tab === 'facts' ? `#${tab}-panel` : 'html')))
      }
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      expect(overflow).toBeLessThanOrEqual(0)
    }
    expect(faults).toEqual([])
    await page.close()
  })
})

/** What axe finds, as `rule: element`. */
async function findFaults(page: Page, within: string): Promise<readonly string[]> {
  const results = await page.evaluate(
    (selector) => (globalThis as unknown as { axe: { run(within: string): Promise<AxeResults> } }).axe.run(selector),
    within,
  )
  return results.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
}
interface AxeResults {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string }[] }[]
}

/**
 * How high each text of the charts is that can be seen, px: the size of its font, as it is drawn.
 */
const heights = (page: Page) =>
  page.$$eval('.chart text', (texts) =>
    texts.flatMap((text) => {
      const scale = (text as SVGTextElement).getScreenCTM()?.a ?? 0
      const { height } = text.getBoundingClientRect()
      const chart = text.closest('svg')?.getAttribute('aria-label')
      const size = Number.parseFloat(getComputedStyle(text).fontSize) * scale
      return height > 0 ? [{ text: text.textContent, chart, height: Math.min(height, size) }] : []
    }),
  )

const isInSight = (page: Page) =>
  page.$eval('#frame .lit.leaf', (lit) => {
    const [inner, outer] = [lit, document.getElementById('frame') ?? lit].map((one) => one.getBoundingClientRect())
    if (!inner || !outer) return false
    const { left, right, top, bottom } = inner
    return left >= outer.left && right <= outer.right && top >= outer.top && bottom <= outer.bottom
  })

const traceOf = (page: Page): Promise<Trace> => page.evaluate(() => connection.trace())

/** The paths of the states that are lit, outermost first. */
const lit = (page: Page) =>
  page.$$eval('#frame > svg > g > .lit', (states) =>
    states.map((state) => state.getAttribute('data-state') ?? '').sort((a, b) => a.length - b.length),
  )

/** The transitions that are traced. */
const taken = (page: Page) =>
  page.$$eval('#frame > svg > g > g > .taken', (texts) =>
    texts.map((text) => ['event', 'from', 'to'].map((name) => text.getAttribute(`data-${name}`))),
  )

async function save(page: Page): Promise<string> {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')])
  return download.path()
}

const load = (page: Page, name: string, text: string) =>
  page.setInputFiles('#file', { name, mimeType: 'application/json', buffer: Buffer.from(text) })
