import type { HttpBindings } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { Book } from './book'
import { Chat, type ChatHost, COOKIE } from './chat'
import { type DocFiles, docFiles } from './docFiles'
import { LINES, MISHAPS } from './events'
import { ForeignChat, type ForeignServer } from './foreignChat'
import { createVisitors, GUARD_HEADERS, refusalOf } from './guard'
import { createHealth } from './health'
import { Mishaps } from './mishaps'
import { type PageFiles, pageFiles } from './pageFiles'

export interface DemoOptions {
  /** Default 40. */
  readonly tokensPerSecond?: number
  /** How long a tool runs, ms. Default 10,000. */
  readonly toolMs?: number
  /** Distance of the pings, ms; a silent stream is noticed after two. Default 3,000. */
  readonly heartbeat?: number
  /** How late the answer to a resume is, ms. Default 5,000. */
  readonly lateMs?: number
  /** How long a dropped client, and a server that restarts, stays away, ms. Default 2,000. */
  readonly awayMs?: number
  /**
   * Starts a chat server that is not ours, in the place of the demo's own; called again for each
   * restart, before the one before is closed.
   */
  readonly startServer?: (() => ForeignServer) | undefined
}

export interface Demo {
  fetch(request: Request, env?: HttpBindings): Response | Promise<Response>
  /** The last 1,000 prompts that agents have received, in their order. Restarts do not clear it. */
  readonly prompts: readonly string[]
  close(): Promise<void>
}

type Env = { Bindings: HttpBindings }

const PAGE_HEADERS = {
  // Revalidated, but not `no-store`: that would keep the page out of the back/forward cache.
  'Cache-Control': 'no-cache',
}
/** Of a visitor's cookie, s. */
const MONTH = 30 * 24 * 3_600
/** A restart is felt by everybody. ms. */
const RESTART_PAUSE = 1_000

/**
 * The whole demo as one `fetch`: the page, the chat server with its agent, and the mishaps between
 * the two.
 */
export async function createDemo(options: DemoOptions = {}): Promise<Demo> {
  const docs = await docFiles()
  return new App(options, await pageFiles(docs), docs)
}

class App implements Demo {
  readonly #options: DemoOptions
  readonly #book = new Book()
  readonly #mishaps: Mishaps
  readonly #health = createHealth()
  readonly #visitors = createVisitors()
  readonly #app = new Hono<Env>()
  #chat: ChatHost
  #restartAt = 0

  constructor(options: DemoOptions, files: PageFiles, docs: DocFiles) {
    const { lateMs = 5_000, awayMs = 2_000 } = options
    this.#options = options
    this.#mishaps = new Mishaps({ lateMs, awayMs })
    this.#chat = this.#startChat()
    this.#guard()
    this.#servePage(files)
    this.#serveDocs(docs)
    this.#serveChat()
    this.#app.post('/demo/mishaps/:name', (context) => this.#cause(context, context.req.param('name')))
  }

  get prompts() {
    return this.#book.prompts
  }

  readonly fetch = (request: Request, env?: HttpBindings) => this.#app.fetch(request, env)

  readonly close = () => {
    this.#health.drain()
    return this.#chat.close()
  }

  #startChat(): ChatHost {
    const { startServer } = this.#options
    if (startServer) return new ForeignChat(startServer(), this.#visitors)
    const { tokensPerSecond = 40, toolMs = 10_000, heartbeat = 3_000 } = this.#options
    return new Chat({
      tokensPerSecond,
      toolMs,
      heartbeat,
      visitors: this.#visitors,
      onPrompt: this.#book.receive,
      onMetric: this.#health.count,
    })
  }

  async #restart() {
    const old = this.#chat
    this.#chat = this.#startChat()
    // Before it can say goodbye: a process that dies does not.
    this.#mishaps.dropAll()
    await old.close()
  }

  #guard() {
    this.#app.use(async (context, next) => {
      const message = refusalOf(context.req.raw)
      if (message !== undefined) context.res = context.json({ error: 'forbidden', message }, 403)
      else await next()
      for (const [name, value] of Object.entries(GUARD_HEADERS)) context.header(name, value)
    })
  }

  #servePage({ html, script, map, style }: PageFiles) {
    this.#app.get('/', (context) => {
      const cookie = getCookie(context, COOKIE)
      if (!this.#visitors.known(cookie)) {
        const own = this.#visitors.welcome(cookie)
        setCookie(context, COOKIE, own, { path: '/', httpOnly: true, sameSite: 'Strict', maxAge: MONTH })
      }
      return context.html(html, 200, PAGE_HEADERS)
    })
    const serve = (path: string, body: string, type: string) =>
      this.#app.get(path, (context) => context.body(body, 200, { ...PAGE_HEADERS, 'Content-Type': type }))
    serve('/page.js', script, 'text/javascript')
    serve('/page.js.map', map, 'application/json')
    serve('/style.css', style, 'text/css')
  }

  #serveDocs(docs: DocFiles) {
    this.#app.get('/docs/:name', async (context) => {
      const text = await docs.get(context.req.param('name'))?.()
      return text === undefined ? context.notFound() : context.text(text, 200, PAGE_HEADERS)
    })
  }

  #serveChat() {
    // Each line of a page has a path of its own, so that a mishap can hit one of them. To the chat
    // server they are the same.
    this.#app.all('/api/chat/*', (context) =>
      this.#mishaps.pass({
        clientId: clientId(
          this.#visitors.idOf(getCookie(context, COOKIE)) ?? '',
          context.req.path.replace(/\/[^/]*$/, ''),
        ),
        request: context.req.raw,
        next: (request) => this.#chat.fetch(request),
        hangUp: () => hangUp(context),
      }),
    )
    // For a balancer: whoever drains gets no new clients.
    this.#app.get('/health', (context) => {
      const report = this.#health.report()
      return context.json(report, report.status === 'ok' ? 200 : 503)
    })
  }

  async #cause(context: Context<Env>, name: string): Promise<Response> {
    const principalId = this.#visitors.known(getCookie(context, COOKIE))
    if (principalId === undefined) return context.json({ error: 'unauthorized' }, 401)
    const mishap = MISHAPS.find((one) => one === name)
    if (!mishap) return context.json({ error: 'no-such-mishap' }, 404)
    if (mishap !== 'restart') {
      const streams = this.#mishaps.cause(mishap, clientId(principalId, context.req.query('line') ?? LINES[0]))
      return context.json({ streams })
    }
    if (Date.now() < this.#restartAt) return context.json({ error: 'too-many' }, 429, { 'Retry-After': '1' })
    this.#restartAt = Date.now() + RESTART_PAUSE
    await this.#restart()
    return context.json({ restarted: true })
  }
}

const clientId = (principalId: string, line: string) => `${principalId} ${line}`
const hangUp = ({ env }: Context<Env>) => env?.outgoing?.destroy()
