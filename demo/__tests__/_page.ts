import type { HttpBindings } from '@hono/node-server'
import type { BrowserContext, Page } from 'playwright-core'
import { createDemo, type DemoOptions } from '../createDemo'
import type { Mishap } from '../events'
import { listen } from '../listen'
import { scriptFor, tokensOf } from '../script'

export type Fetch = (request: Request, env: HttpBindings) => Response | Promise<Response>

export interface Site {
  readonly url: string
  /** What the agents have received. */
  readonly prompts: readonly string[]
  close(): Promise<void>
}

/** The demo on a port of its own. `wrap` stands between the browser and all of it. */
export async function startSite(options: DemoOptions = {}, wrap = (fetch: Fetch): Fetch => fetch): Promise<Site> {
  const demo = await createDemo({
    tokensPerSecond: 120,
    toolMs: 1_500,
    heartbeat: 1_000,
    lateMs: 3_000,
    // The network is back at once, except where a test is about that.
    awayMs: 0,
    ...options,
  })
  const listening = await listen({ fetch: wrap(demo.fetch), port: 0 })
  return {
    url: listening.url,
    prompts: demo.prompts,
    async close() {
      await demo.close()
      await listening.close()
    },
  }
}

export type Chat = ReturnType<typeof createChat>

/** The page, connected. */
export async function openChat(profile: BrowserContext, { url }: Site) {
  const page = await profile.newPage()
  const crashes: string[] = []
  page.on('pageerror', (error) => crashes.push(error.message))
  await page.goto(url)
  const chat = createChat(page)
  await chat.phase('open')
  return { ...chat, crashes }
}

export function createChat(page: Page) {
  const lastAnswer = page.locator('.row .answer[data-status]').last()

  const phase = (name: string) => page.waitForSelector(`body[data-phase="${name}"]`)
  const write = async (prompt: string) => {
    await page.fill('#prompt', prompt)
    await page.press('#prompt', 'Enter')
  }
  const cause = (mishap: Mishap) => page.click(`[data-mishap="${mishap}"]`)

  const answers = () =>
    page.$$eval('.row', (rows) =>
      rows.map((row) => Array.from(row.querySelectorAll('.answer .text'), (text) => text.textContent ?? '').join('|')),
    )

  return {
    page,
    lastAnswer,
    phase,
    write,
    cause,
    ...logOf(page),
    ...deliveriesOf(page),
    ...countsOf(page),
    /** The text of each row's answer. */
    answers,
    /** Waits until so much of the last answer is there; returns what is there. */
    async heard(characters: number) {
      await page.waitForFunction((wanted) => {
        const texts = document.querySelectorAll('.row:last-child .answer .text')
        return Array.from(texts, (text) => text.textContent ?? '').join('').length >= wanted
      }, characters)
      return (await answers()).at(-1) ?? ''
    },
    /** Waits until so many answers are complete, and nothing is on its way. */
    finished: (count: number) =>
      page.waitForFunction(
        (wanted) =>
          document.querySelectorAll('.answer[data-status="done"]').length === wanted &&
          !document.querySelector('.own:not([data-status="accepted"])'),
        count,
      ),
    /** Of each message, what is told beside its answer. */
    answerNotes: () => page.$$eval('.answer-note', (notes) => notes.map(({ textContent }) => textContent ?? '')),
    ownMessages: () => page.$$eval('.own > .text', (texts) => texts.map(({ textContent }) => textContent ?? '')),
  }
}

/** What happened to the line. */
function logOf(page: Page) {
  /** Lifecycle events as `kind what`, oldest first. */
  const log = async (): Promise<readonly string[]> => {
    const entries = await page.$$eval('#log li', (items) =>
      items.map((item) => `${item.querySelector('.kind')?.textContent} ${item.querySelector('.what')?.textContent}`),
    )
    return entries.reverse()
  }

  /**
   * Waits until the log has entries that begin like this, in this order, after the first `skip`
   * ones.
   */
  const logged = (beginnings: readonly string[], skip = 0) =>
    page.waitForFunction(
      ([wanted, skipped]) => {
        const items = Array.from(document.querySelectorAll('#log li')).reverse().slice(skipped)
        const rest = [...wanted]
        for (const item of items) {
          const entry = `${item.querySelector('.kind')?.textContent} ${item.querySelector('.what')?.textContent}`
          if (rest[0] !== undefined && entry.startsWith(rest[0])) rest.shift()
        }
        return rest.length === 0
      },
      [beginnings, skip] as const,
    )

  return { log, logged }
}

/** What became of the messages. */
const deliveriesOf = (page: Page) => ({
  /** Waits until the message is in this state. */
  delivery: (prompt: string, status: string) =>
    page.waitForFunction(
      ([text, wanted]) =>
        Array.from(document.querySelectorAll<HTMLElement>('.own')).some(
          (own) => own.dataset.status === wanted && own.querySelector('.text')?.textContent === text,
        ),
      [prompt, status] as const,
    ),
  /** Waits until there are so many messages, and all of them are in this state. */
  deliveries: (count: number, status: string) =>
    page.waitForFunction(
      ([wanted, state]) => {
        const states = Array.from(document.querySelectorAll<HTMLElement>('.own'), (own) => own.dataset.status)
        return states.length === wanted && states.every((one) => one === state)
      },
      [count, status] as const,
    ),
})

/** What the page has counted. */
const countsOf = (page: Page) => ({
  count: async (name: string) => Number(await page.textContent(`[data-count="${name}"] dd`)),
  /** What the page has counted: expected, arrived, lost, doubled, out of order. */
  tally: async () => {
    const rows = await page.$$eval('#tally tbody tr', (lines) =>
      lines.map((line) => Array.from(line.querySelectorAll('td'), (cell) => Number(cell.textContent))),
    )
    return { messages: rows[0], tokens: rows[1] }
  },
})

/** How many tokens the agent's script has. */
export const tokenCount = (prompt: string) =>
  scriptFor(prompt).flatMap((step) => (step.kind === 'text' ? tokensOf(step.text) : [])).length

/** What the agent's script says in words. */
export const scriptText = (prompt: string) =>
  scriptFor(prompt)
    .flatMap((step) => (step.kind === 'text' ? [step.text] : []))
    .join('|')
