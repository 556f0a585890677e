import { chromium } from 'playwright-core'
import type { Engine } from './engine'

export async function launchChromium(executablePath: string): Promise<Engine> {
  const browser = await chromium.launch({
    executablePath,
    // Playwright turns it off, and the tests are to see it.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  const context = await browser.newContext()
  return {
    name: 'Chromium',
    version: browser.version(),
    async open(url) {
      const page = await context.newPage()
      await page.goto(url)
      return {
        evaluate: (expression) => page.evaluate(expression),
        click: (selector) => page.click(selector),
        close: () => page.close(),
      }
    },
    close: () => browser.close(),
  }
}
