import { fileURLToPath } from 'node:url'
import { findBrowser, launch } from '../demo/__tests__/_browser'
import { createDemo } from '../demo/createDemo'
import { listen } from '../demo/listen'

/** The picture of the page in the README: a stream that was dropped in the middle of an answer is being resumed. */
const FILE = fileURLToPath(new URL('../docs/page.png', import.meta.url))

const [file = FILE, width = '1440', height = '900', scheme = 'light', pane = ''] = process.argv.slice(2)
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
  page.on('pageerror', (error) => console.error(error))
  page.on('console', (message) => console.log(message.text()))
  const show = (name: string) =>
    page
      .locator(`#panes [data-pane="${name}"]:visible`)
      .click({ timeout: 500 })
      .catch(() => {})
  await page.goto(site.url)
  await page.waitForSelector('body[data-phase="open"]')
  await show('chat')
  await page.fill('#prompt', 'How do you hold the line?')
  await page.press('#prompt', 'Enter')
  await page.waitForTimeout(1_500)
  await show('chart')
  await page.click('#second')
  await page.waitForTimeout(800)
  await page.click('[data-mishap="late-resume"]')
  await page.waitForSelector('body[data-phase="reconnecting"]')
  await page.click('#wake')
  if (pane) await show(pane)
  await page.waitForTimeout(600)
  await page.screenshot({ path: file })
} finally {
  await browser.close()
  await demo.close()
  await site.close()
}
