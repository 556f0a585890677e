import type { Browser, BrowserContext } from 'playwright-core'
import { bundleForPage } from '../field/bundle'
import { findBrowser, launch } from '../shared/browser'
import { call, openTabs, share, startTabsSite, type TabsSite } from '../shared/tabsSite'
import { interleave, type Measurement, median, type Result, ratio } from './_bench'

const TABS = 8
const ROUNDS = 15
const BAR = 1.2
/**
 * Of a round trip to the server, ms. To join takes as many of them as a connection of its own; what
 * it takes more is words between processes. With a server on the same machine these are all there
 * is, so that is measured without a bar.
 */
const LATENCIES = [0, 50]

export const tabs: Measurement = {
  name: 'tabs',
  about: `streams of ${TABS} tabs of a real Chromium over HTTP/1.1, and the time to the first message in one that joins`,
  async run() {
    const executable = findBrowser()
    if (!executable) {
      console.log('skipped: there is no Chromium. Install one, or set CHROME_PATH')
      return []
    }
    const site = await startTabsSite(await bundleForPage('./page/tabs.ts'))
    const browser = await launch(executable)
    try {
      await site.publish(1)
      const results = [await streamsOf(browser, site)]
      for (const latency of LATENCIES) results.push(await timeToJoin(browser, site, latency))
      return results
    } finally {
      await browser.close()
      await site.close()
    }
  },
}

async function inContext<Value>(browser: Browser, work: (context: BrowserContext) => Promise<Value>) {
  const context = await browser.newContext()
  try {
    return await work(context)
  } finally {
    await context.close()
  }
}

async function streamsOf(browser: Browser, site: TabsSite): Promise<Result> {
  const ours = await inContext(browser, async (context) => {
    await share(site, await openTabs(context, site, TABS))
    return site.server.mostStreams
  })
  const own = await inContext(browser, async (context) => {
    // They are loaded first: the seventh would not even load.
    const pages = await openTabs(context, site, TABS, '?own&wait')
    for (const page of pages) call(page, 'join').catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    return site.server.streams
  })
  return {
    name: `streams of ${TABS} tabs`,
    ours: String(ours),
    baseline: `${own}, and ${TABS - own} tabs wait`,
    value: `${ours} of ${TABS}`,
    bar: '1',
    isMet: ours === 1,
  }
}

/** Beside a tab that is there already, with a connection of its own and without. */
async function timeToJoin(browser: Browser, site: TabsSite, latency: number): Promise<Result> {
  site.latency = latency
  const samples = await inContext(browser, async (context) => {
    await share(site, await openTabs(context, site, 1))
    const sample = async (subject: 'holdline' | 'bare') => {
      const [page] = await openTabs(context, site, 1, subject === 'bare' ? '?own&wait' : '?wait')
      if (!page) return Number.NaN
      const ms = Number(await call(page, 'join'))
      await page.close()
      return ms
    }
    // Compiled code and open sockets are nobody's merit.
    await sample('holdline')
    await sample('bare')
    return interleave(ROUNDS, sample)
  })
  const value = ratio(samples.ours, samples.baseline)
  return {
    name: `first message in a joining tab, ${latency} ms away`,
    ours: `${median(samples.ours).toFixed(0)} ms`,
    baseline: `${median(samples.baseline).toFixed(0)} ms, its own connection`,
    value: `× ${value.toFixed(2)}`,
    bar: latency ? `≤ ${BAR}` : '–',
    isMet: !latency || value <= BAR,
  }
}
