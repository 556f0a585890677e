import { launch } from '../../shared/browser'
import type { Engine } from './engine'

export async function launchChromium(executablePath: string): Promise<Engine> {
  const browser = await launch(executablePath)
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
