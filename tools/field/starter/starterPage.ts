import type { BrowserContext, Page } from 'playwright-core'
import { expect } from 'vitest'

const PATIENCE = { timeout: 60_000 }

export type StarterPage = Awaited<ReturnType<typeof openStarter>>

/** The page of examples/app, in the hands of somebody who uses it. */
export async function openStarter(context: BrowserContext, origin: string) {
  const page = await context.newPage()
  const crashes: string[] = []
  page.on('pageerror', (error) => crashes.push(String(error)))
  page.on('console', (message) => {
    if (/Content Security Policy|Minified React|Warning:/.test(message.text())) crashes.push(message.text())
  })
  await page.goto(origin)
  return { page, crashes, ...actionsOf(page), ...viewsOf(page) }
}

function actionsOf(page: Page) {
  return {
    async logIn(name: string, password = name) {
      await page.getByLabel('Name').fill(name)
      await page.getByLabel('Password').fill(password)
      await page.getByRole('button', { name: 'Log in', exact: true }).click()
    },
    async newChat() {
      const before = page.url()
      await page.getByRole('button', { name: 'New chat' }).click()
      await expect.poll(() => page.url(), PATIENCE).not.toBe(before)
      await page.getByRole('log').waitFor()
      return page.url()
    },
    async say(text: string) {
      await page.getByLabel('Message', { exact: true }).fill(text)
      await page.getByLabel('Message', { exact: true }).press('Enter')
    },
    attach: (name: string, mimeType: string, buffer: Buffer) =>
      page.setInputFiles('input[type=file]', { name, mimeType, buffer }),
    press: (name: string | RegExp) => page.getByRole('button', { name }).click(),
  }
}

function viewsOf(page: Page) {
  const texts = (selector: string) => page.locator(selector).allTextContents()
  return {
    /** All that was said, in its order. */
    said: () => expect.poll(() => texts('[role=log] > ol > li > p'), PATIENCE),
    /** What is written below it: states, and how answers ended. */
    notes: () => expect.poll(() => texts('[role=log] > ol > li > small'), PATIENCE),
    status: () => expect.poll(() => page.locator('.status').textContent(), PATIENCE),
    body: () => expect.poll(() => page.locator('body').textContent(), PATIENCE),
  }
}

/** The answer to `count to <last>`. */
export const counted = (last: number) => Array.from({ length: last }, (_, index) => `${index + 1} `).join('')
