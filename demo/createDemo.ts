import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { HttpBindings } from '@hono/node-server'
import { build } from 'esbuild'
import { connectionMachine, outboxMachine } from 'holdline/machine'
import { createChatServer, memoryLog } from 'holdline/server'
import { type Context, Hono } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { parse } from 'hono/utils/cookie'
import { drawChart } from '../tools/docs/drawChart'
import { createAgent } from './agent'
import { LINES, MISHAPS } from './events'
import { createVisitors, GUARD_HEADERS, HOSTS, refusalOf } from './guard'
import { createHealth } from './health'
import { createMishaps } from './mishaps'

export interface DemoOptions {
  /** Default 40. */
  readonly tokensPerSecond?: number
  /** How long a tool runs, ms. Default 10,000. */
  readonly toolMs?: number
  /** Distance of the pings, ms; a silent stream is noticed after two. Default 3,000. */
  readonly heartbeat?: number
  /** How late the answer to a resume is, ms. Default 5,000. */
  readonly lateMs?: number
}

export interface Demo {
  fetch(request: Request, env?: HttpBindings): Response | Promise<Response>
  /** The last 1,000 prompts that agents have received, in their order. Restarts do not clear it. */
  readonly prompts: readonly string[]
  close(): Promise<void>
}

type Env = { Bindings: HttpBindings }

const COOKIE = 'demo'
const STYLES = ['style.css', 'chart.css'] as const
const PAGE = fileURLToPath(new URL('./page/', import.meta.url))
const PAGE_HEADERS = {
  // Revalidated, but not `no-store`: that would keep the page out of the back/forward cache.
  'Cache-Control': 'no-cache',
}
const MAX_PROMPTS = 1_000
/** Whose session was not named for the longest is up for grabs, but ids cannot be guessed. */
const MAX_OWNED = 10_000
/** A restart is felt by everybody. ms. */
const RESTART_PAUSE = 1_000

/**
 * The whole demo as one `fetch`: the page, the chat server with its agent, and the mishaps between
 * the two.
 */
export async function createDemo(options: DemoOptions = {}): Promise<Demo> {
  const { tokensPerSecond = 40, toolMs = 10_000, heartbeat = 3_000, lateMs = 5_000 } = options
  const [assets, script] = await makePage()
  const mishaps = createMishaps({ lateMs })
  const prompts: string[] = []
  const health = createHealth()
  const visitors = createVisitors()
  let restartAt = 0
  let server = startServer()

  /**
   * All that a restart loses: the log, the streams, the receipts, who owns which session, and what
   * was being said.
   */
  function startServer() {
    const owners = new Map<string, string>()
    const chat = createChatServer({
      heartbeat,
      log: memoryLog({ maxEvents: 20_000 }),
      allowedHosts: HOSTS,
      // An app would look up a login here; the demo takes everybody, and tells them apart by a
      // cookie.
      authenticate({ headers }) {
        const id = visitors.idOf(parse(headers.get('Cookie') ?? '', COOKIE)[COOKIE])
        return id === undefined ? null : { id }
      },
      // Session ids are long and random: whoever names one first made it up.
      authorize({ id }, sessionId) {
        const owner = owners.get(sessionId) ?? id
        owners.delete(sessionId)
        const [oldest = ''] = owners.set(sessionId, owner).keys()
        if (owners.size > MAX_OWNED) owners.delete(oldest)
        return owner === id
      },
      onCommand: (call) => agent.handle(call),
      onMetric: health.count,
      onError: (error) => console.error(error),
    })
    const agent = createAgent({
      publish: chat.publish,
      tokensPerSecond,
      toolMs,
      onPrompt(_, prompt) {
        prompts.push(prompt)
        if (prompts.length > MAX_PROMPTS) prompts.shift()
      },
    })
    return {
      fetch: chat.fetch,
      close() {
        agent.close()
        return chat.close()
      },
    }
  }

  async function restart() {
    const old = server
    server = startServer()
    // Before it can say goodbye: a process that dies does not.
    mishaps.dropAll()
    await old.close()
  }

  const app = new Hono<Env>()
  app.use(async (context, next) => {
    const message = refusalOf(context.req.raw)
    if (message !== undefined) context.res = context.json({ error: 'forbidden', message }, 403)
    else await next()
    for (const [name, value] of Object.entries(GUARD_HEADERS)) context.header(name, value)
  })
  app.get('/', (context) => {
    const cookie = getCookie(context, COOKIE)
    if (!visitors.known(cookie)) {
      const maxAge = 30 * 24 * 3_600
      setCookie(context, COOKIE, visitors.welcome(cookie), { path: '/', httpOnly: true, sameSite: 'Strict', maxAge })
    }
    return context.html(assets.html, 200, PAGE_HEADERS)
  })
  app.get('/page.js', (context) => context.body(script, 200, { ...PAGE_HEADERS, 'Content-Type': 'text/javascript' }))
  for (const name of STYLES) {
    const headers = { ...PAGE_HEADERS, 'Content-Type': 'text/css' }
    app.get(`/${name}`, (context) => context.body(assets[name], 200, headers))
  }

  // Each line of a page has a path of its own, so that a mishap can hit one of them. To the chat
  // server they are the same.
  app.all('/api/chat/*', (context) =>
    mishaps.pass({
      clientId: clientId(visitors.idOf(getCookie(context, COOKIE)) ?? '', context.req.path.replace(/\/[^/]*$/, '')),
      request: context.req.raw,
      next: (request) => server.fetch(request),
      hangUp: () => hangUp(context),
    }),
  )
  // For a balancer: whoever drains gets no new clients.
  app.get('/health', (context) => {
    const report = health.report()
    return context.json(report, report.status === 'ok' ? 200 : 503)
  })
  app.post('/demo/mishaps/:name', async (context) => {
    const principalId = visitors.known(getCookie(context, COOKIE))
    if (principalId === undefined) return context.json({ error: 'unauthorized' }, 401)
    const mishap = MISHAPS.find((name) => name === context.req.param('name'))
    if (!mishap) return context.json({ error: 'no-such-mishap' }, 404)
    if (mishap !== 'restart') {
      const streams = mishaps.cause(mishap, clientId(principalId, context.req.query('line') ?? LINES[0]))
      return context.json({ streams })
    }
    if (Date.now() < restartAt) return context.json({ error: 'too-many' }, 429, { 'Retry-After': '1' })
    restartAt = Date.now() + RESTART_PAUSE
    await restart()
    return context.json({ restarted: true })
  })

  return {
    fetch: (request, env) => app.fetch(request, env),
    prompts,
    close() {
      health.drain()
      return server.close()
    },
  }
}

const clientId = (principalId: string, line: string) => `${principalId} ${line}`
const hangUp = ({ env }: Context<Env>) => env?.outgoing?.destroy()
const readPage = (name: string) => readFile(PAGE + name, 'utf8')

let page: Promise<[Awaited<ReturnType<typeof readAssets>>, string]> | undefined

/** Once in a process, however many demos it has. */
function makePage() {
  page ??= Promise.all([readAssets(), bundlePage()])
  return page
}

/** The page, with the charts drawn from the machines as they are now. */
async function readAssets() {
  const [html, connection, outbox, ...styles] = await Promise.all([
    readPage('index.html'),
    drawChart(connectionMachine),
    drawChart(outboxMachine),
    ...STYLES.map(readPage),
  ])
  const [style, chart] = styles as [string, string]
  return {
    html: html.replace('<!-- connection chart -->', connection).replace('<!-- outbox chart -->', outbox),
    'style.css': style,
    'chart.css': chart,
  }
}

async function bundlePage(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`${PAGE}page.ts`],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    sourcemap: 'inline',
    tsconfig: fileURLToPath(new URL('../tsconfig.json', import.meta.url)),
    // Loaded on demand where there is no native WebSocket. In a browser there is.
    external: ['ws'],
    logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
}
