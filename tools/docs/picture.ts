import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createDemo } from '../../demo/createDemo'
import { listen } from '../../demo/listen'
import { findBrowser, launch } from '../shared/browser'
import { palettePng } from './palettePng'

/**
 * The page for the README, with a resume that is late. For a look at others: `picture <file>
 * <width> <height> light|dark chat|chart|record`.
 */
const FILE = fileURLToPath(new URL('../../docs/page.png', import.meta.url))

const [file = FILE, width = '1600', height = '1000', scheme = 'light', pane = ''] = process.argv.slice(2)
const executablePath = findBrowser()
if (!executablePath) throw new Error('no Chromium was found: install one, or set CHROME_PATH')

const demo = await createDemo()
const site = await listen({ fetch: demo.fetch, port: 0 })
const browser = await launch(executablePath)
try {
  const page = await browser.newPage({
    viewport: { width: Number(width), height: Number(height) },
    reducedMotion: 'reduce',
    colorScheme: scheme === 'dark' ? 'dark' : 'light',
  })
  const show = (name: string) =>
    page
      .locator(`#panes [data-pane="${name}"]:visible`)
      .click({ timeout: 500 })
      .catch(() => {})
  await page.goto(site.url)
  await page.waitForSelector('body[data-phase="open"]')
  await show('chat')
  await page.click('#tour-open')
  await page.fill('#prompt', 'Tell me a long story')
  await page.press('#prompt', 'Enter')
  await page.waitForTimeout(1_500)
  await show('chart')
  await page.click('#second')
  await page.waitForTimeout(800)
  await page.click('[data-mishap="late-resume"]')
  await page.waitForSelector('body[data-phase="reconnecting"]')
  await page.click('#wake')
  await show('chat')
  await page.fill('#prompt', 'This one waits for the resume')
  await page.press('#prompt', 'Enter')
  await show('chart')
  if (pane) await show(pane)
  await page.waitForTimeout(600)
  writeFileSync(file, await palettePng(page, await page.screenshot()))
} finally {
  await browser.close()
  await demo.close()
  await site.close()
}
