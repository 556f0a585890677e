import { createChatServer } from 'holdline/server'
import { listen } from './listen'

// A site whose page is tools/field/page/tabs.ts, and the tabs of a real browser that visit it.

/** How a tab says it is. */
export interface Told {
  readonly life: string
  readonly role: string
  readonly phase: string
  readonly visibility: string
  readonly isControlled: boolean
  /** How often it came back from the back/forward cache. */
  readonly comebacks: number
  readonly seqs: readonly number[]
  readonly verdicts: readonly string[]
  readonly errors: readonly string[]
  readonly resets: readonly string[]
  readonly heads: Readonly<Record<string, number>>
  readonly flaws: readonly string[]
  readonly said: number
}

/**
 * Another app's: it stands between each page of the origin and the network, and changes nothing.
 */
const SERVICE_WORKER = `
  addEventListener('install', () => skipWaiting())
  addEventListener('activate', (event) => event.waitUntil(clients.claim()))
  addEventListener('fetch', (event) => event.respondWith(fetch(event.request)))
`
const REGISTRATION = `
  navigator.serviceWorker.register('/service-worker.js')
  globalThis.isControlled = new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve))
`
const html = (script: string) =>
  new Response(`<!doctype html><title>tabs</title>${script}`, { headers: { 'Content-Type': 'text/html' } })
const javascript = (text: string) => new Response(text, { headers: { 'Content-Type': 'text/javascript' } })

export type TabsSite = Awaited<ReturnType<typeof startTabsSite>>

/** `script` is that of the page; each answer to the app is `latency` ms late. */
export async function startTabsSite(script: string, { latency = 0 } = {}) {
  const prompts: unknown[] = []
  const chat = createChatServer({
    authenticate: () => ({ id: 'me' }),
    authorize: () => true,
    onCommand: ({ message }) => void prompts.push(message.prompt),
  })
  const site = { script, latency }
  const pages: Readonly<Record<string, () => Response>> = {
    '/': () => html('<script type="module" src="/page.js"></script>'),
    '/page.js': () => javascript(site.script),
    '/service-worker.js': () => javascript(SERVICE_WORKER),
    '/register': () => html(`<script>${REGISTRATION}</script>`),
    '/other': () => html(''),
  }
  const server = await listen(async (request) => {
    const { pathname } = new URL(request.url)
    if (!pathname.startsWith('/api/')) return pages[pathname]?.() ?? new Response('', { status: 404 })
    if (site.latency) await new Promise((resolve) => setTimeout(resolve, site.latency))
    return chat.fetch(request)
  })
  return Object.assign(site, {
    server,
    origin: new URL(server.url).origin,
    /** Of the messages that the server has taken, in its order. */
    prompts,
    publish: async (count: number, sessionId = 's1') => {
      for (let index = 0; index < count; index++) await chat.publish(sessionId, { type: 'token' })
    },
    close: async () => {
      await chat.close()
      await server.close()
    },
  })
}

/** What is used of a page, of Playwright or Puppeteer. */
export interface TabPage {
  evaluate(expression: string): Promise<unknown>
  goto(url: string): Promise<unknown>
}

export const tell = async (page: TabPage) => (await page.evaluate('tell()')) as Told

/** Calls a function that the page has. */
export const call = (page: TabPage, name: 'send' | 'say' | 'join' | 'endWorker', count = 0) =>
  page.evaluate(`${name}(${count})`)

/** Waits until it is so in all of the pages. Returns how long that took, ms. */
export async function until(what: string, isMet: (all: readonly Told[]) => boolean, pages: readonly TabPage[]) {
  const start = performance.now()
  for (;;) {
    const all = await Promise.all(pages.map(tell))
    if (isMet(all)) return performance.now() - start
    const seen = all.map(({ role, phase, seqs, errors }) => `${role} ${phase} ${seqs.length} ${errors}`)
    if (performance.now() - start > 30_000) throw new Error(`never happened: ${what} (${seen.join(', ')})`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Opens tabs, one after the other. */
export async function openTabs<Page extends TabPage>(
  browser: { newPage(): Promise<Page> },
  { origin }: TabsSite,
  count: number,
  search = '',
) {
  const pages: Page[] = []
  for (let index = 0; index < count; index++) {
    const page = await browser.newPage()
    await page.goto(`${origin}/${search}`)
    pages.push(page)
  }
  return pages
}

/** Waits until all of them are open, one of them leads, and there is one stream. */
export const share = ({ server }: TabsSite, pages: readonly TabPage[]) =>
  until(
    'one line',
    (all) =>
      all.every(({ phase }) => phase === 'open') &&
      all.filter(({ role }) => role === 'leading').length === 1 &&
      server.streams === 1,
    pages,
  )

/** Waits until they follow a shared worker, on one stream. */
export const shareWithWorker = ({ server }: TabsSite, pages: readonly TabPage[]) =>
  until(
    'the worker leads',
    (all) => all.every(({ role, phase }) => role === 'following' && phase === 'open') && server.streams === 1,
    pages,
  )

export async function leaderOf<Page extends TabPage>(pages: readonly Page[]): Promise<Page> {
  const all = await Promise.all(pages.map(tell))
  return pages[all.findIndex(({ role }) => role === 'leading')] as Page
}

/** A session of the DevTools protocol. */
export interface DevTools {
  send(method: string, params?: object): Promise<unknown>
}

/**
 * Returns the function that ends it. To freeze takes Puppeteer: Playwright keeps each page active.
 */
export async function freeze(tools: DevTools) {
  await tools.send('Page.setWebLifecycleState', { state: 'frozen' })
  return () => tools.send('Page.setWebLifecycleState', { state: 'active' })
}

/** Not a task of it runs, and no event says so; its lock and its stream stay. */
export async function hang(page: TabPage, tools: DevTools) {
  await tools.send('Debugger.enable')
  await tools.send('Debugger.pause')
  page.evaluate('0').catch(() => {})
  return async () => {
    await tools.send('Debugger.resume').catch(() => {})
    await tools.send('Debugger.disable')
  }
}

export const crash = (tools: DevTools) => void tools.send('Page.crash').catch(() => {})
