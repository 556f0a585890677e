import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { bundleForPage } from './bundle'
import type { Measured } from './page/tokens'
import { onNode } from './place'
import { startSite } from './startSite'
import { describeWith } from './tools'

const PACKAGES = fileURLToPath(new URL('../../node_modules/', import.meta.url))
const SESSIONS = ['s1', 's2', 's3', 's4']
const TYPED = 'the quick brown fox jumps over the lazy dog'

describeWith(onNode('holdline/react in Chromium'), { chromium: findBrowser() }, () => {
  test('four sessions at 100 tokens a second: as many frames as without them, at most one render each, and no key is lost', async () => {
    const script = await bundleForPage('./page/tokens.ts', {
      define: { 'process.env.NODE_ENV': '"production"' },
      // One React, in its profiling build, which counts the commits.
      alias: { react: `${PACKAGES}react`, 'react-dom/client': `${PACKAGES}react-dom/profiling.js` },
    })
    const site = await startSite(script)
    const browser = await launch(findBrowser() as string)
    let timer: ReturnType<typeof setInterval> | undefined
    try {
      const page = await browser.newPage()
      const faults: unknown[] = []
      page.on('pageerror', (error) => faults.push(error))
      await page.goto(`${site.origin}/app`)
      await page.waitForSelector('input', { timeout: 20_000 }).catch(() => expect(faults).toEqual([]))
      await expect.poll(() => site.requestsTo('reconnect').length, { timeout: 30_000 }).toBeGreaterThan(0)
      const measure = async (): Promise<Measured> => {
        await page.evaluate('begins()')
        for (const key of TYPED) {
          await page.keyboard.type(key)
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
        return (await page.evaluate('measures()')) as Measured
      }
      await page.focus('input')
      const quiet = await measure()

      // By the clock, so that a machine that is late makes it up.
      let published = 0
      const start = performance.now()
      timer = setInterval(() => {
        for (; published < (performance.now() - start) / 10; published++)
          for (const session of SESSIONS) void site.chat.publish(session, { type: 'token', text: 'word ' })
      }, 10)
      const busy = await measure()
      clearInterval(timer)
      const rate = (frames: number, { ms }: Measured) => Math.round((frames / ms) * 1_000)
      console.log(
        `frames a second: ${rate(quiet.frames, quiet)} quiet, ${rate(busy.frames, busy)} busy; ` +
          `tokens a second and session: ${rate(Math.max(...busy.shown), busy)}; renders: ${rate(busy.commits, busy)}`,
      )
      expect(await page.inputValue('input')).toBe(TYPED + TYPED)
      // What is shown is what was said.
      await expect
        .poll(() => page.textContent('#s4').then((text) => text?.length), { timeout: 30_000 })
        .toBe(published * 'word '.length)
      expect(rate(busy.frames, busy) / rate(quiet.frames, quiet)).toBeGreaterThan(0.8)
      // A key renders the whole page.
      expect(busy.commits).toBeLessThanOrEqual(busy.frames + TYPED.length)
      expect(busy.commits).toBeLessThan(Math.max(...busy.shown))
    } finally {
      clearInterval(timer)
      await browser.close()
      await site.close()
    }
  })
})
