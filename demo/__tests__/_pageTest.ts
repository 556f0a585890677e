import type { BrowserContext } from 'playwright-core'
import { test as base, describe, vi } from 'vitest'
import { findShell, launch, warnOfMissingBrowser } from '../../tools/shared/browser'
import type { DemoOptions } from '../createDemo'
import { type Fetch, openChat, type Site, startSite } from './_page'

const isSkipped = !findShell() && !process.env.CI

/** Without a Chromium the tests are skipped, loudly, and on CI they fail. */
export function describePage(what: string, { concurrent }: { readonly concurrent: boolean }, tests: () => void) {
  if (isSkipped) warnOfMissingBrowser()
  // More than three pages at once would only slow each other down.
  // A test of many reloads takes its time on a machine that is busy.
  vi.setConfig({ maxConcurrency: 3, testTimeout: 90_000 })
  describe.skipIf(isSkipped)(what, { concurrent }, tests)
}

/**
 * One browser for a file. Each test has a site and a profile of its own, so tests can run at the
 * same time.
 */
export const pageTest = base
  .extend('options', {} as DemoOptions)
  .extend('program', { scope: 'file' }, findShell())
  .extend('browser', { scope: 'file' }, async ({ program }, { onCleanup }) => {
    if (!program) throw new Error('no Chromium was found: install one, or set CHROME_PATH')
    const browser = await launch(program)
    onCleanup(() => browser.close())
    return browser
  })
  .extend('profile', async ({ browser }, { onCleanup }): Promise<BrowserContext> => {
    // Nothing moves for its own sake: drawing in software is most of what a page costs here.
    const context = await browser.newContext({ reducedMotion: 'reduce', viewport: { width: 1000, height: 640 } })
    onCleanup(() => context.close())
    return context
  })
  /** Starts one more site, which lives as long as the test. */
  .extend('start', async ({ options }, { onCleanup }) => {
    const sites: Site[] = []
    onCleanup(async () => {
      await Promise.all(sites.map((site) => site.close()))
    })
    return async (more: DemoOptions = {}, wrap?: (fetch: Fetch) => Fetch) => {
      const site = await startSite({ ...options, ...more }, wrap)
      sites.push(site)
      return site
    }
  })
  .extend('site', ({ start }): Promise<Site> => start())
  .extend('chat', ({ profile, site }) => openChat(profile, site))
