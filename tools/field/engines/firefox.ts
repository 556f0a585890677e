import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Engine } from './engine'

/** Stock Firefox, over WebDriver BiDi. */
export async function launchFirefox(executablePath: string): Promise<Engine> {
  // Here and not above: it is installed only for these tests.
  const { default: puppeteer } = await import('puppeteer-core')
  const downloads = mkdtempSync(join(tmpdir(), 'holdline-downloads-'))
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath,
    headless: true,
    extraPrefsFirefox: {
      // Else there is no back/forward cache under automation.
      'fission.bfcacheInParent': true,
      'browser.download.folderList': 2,
      'browser.download.dir': downloads,
      'browser.download.useDownloadDir': true,
    },
  })
  return {
    name: 'Firefox',
    version: (await browser.version()).split('/').at(-1) ?? '',
    async open(url) {
      const page = await browser.newPage()
      await page.goto(url)
      return {
        evaluate: async <Value>(expression: string) => (await page.evaluate(expression)) as Value,
        click: (selector) => page.click(selector),
        close: () => page.close(),
      }
    },
    async close() {
      await browser.close()
      rmSync(downloads, { recursive: true, force: true })
    },
  }
}
