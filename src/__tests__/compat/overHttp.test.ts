import { fetchStreamTransport } from 'holdline/adapters'
import { type ChatServerOptions, type CommandCall, createChatServer, type Principal } from 'holdline/server'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import { type ChatConnectionOptions, createChatConnection } from '../../compat'
import type { JsonObject } from '../../protocol'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  vi.restoreAllMocks()
})

const prompt = (text: string) => ({ type: 'send', sessionId: 's1', prompt: text })
const STOP = { type: 'stop', sessionId: 's1' }
const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 5 })
/** What a test lets go when it wants to. */
function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

type Fetch = ChatConnectionOptions['fetch']

async function connectTo(url: string, options: Partial<ChatConnectionOptions> = {}) {
  vi.spyOn(console, 'warn').mockImplementation(() => {})
  const told: JsonObject[] = []
  const chat = createChatConnection({ baseUrl: url.replace('/api/chat', ''), fetch, reconnectDelayMs: 20, ...options })
  cleanups.push(() => chat.connection.dispose())
  chat.onMessage((message) => told.push(message))
  chat.connect()
  await until(() => expect(chat.isConnected()).toBe(true))
  return {
    chat,
    told,
    news: () => told.filter(({ type }) => ['_rejected', '_unknown', '_stopped'].includes(String(type))),
  }
}

/** The real server half. A command whose text has a gate waits for it. */
async function serve(overrides: Partial<ChatServerOptions<Principal>> = {}) {
  const ran: string[] = []
  const gates = new Map<unknown, Promise<void>>()
  const server = createChatServer({
    authenticate: () => ({ id: 'alice' }),
    authorize: () => true,
    allowedHosts: 'any',
    async onCommand({ type, message }: CommandCall) {
      ran.push(String(message.prompt ?? message.name ?? type))
      await gates.get(message.prompt)
      return { took: type }
    },
    ...overrides,
  })
  const http = await listen(server.fetch)
  cleanups.push(async () => {
    await server.close()
    await http.close()
  })
  return { server, ran, gates, url: http.url }
}

/** A server of protocol v2 that announces nothing, numbers nothing and remembers nothing. */
async function serveOld(answer: (endpoint: string, body: JsonObject) => unknown = () => ({ ok: true })) {
  const posts: (JsonObject & { readonly at: string })[] = []
  let frames: ReadableStreamDefaultController<Uint8Array> | undefined
  const encode = (frame: object, event = '') =>
    new TextEncoder().encode(`${event && `event: ${event}\n`}data: ${JSON.stringify(frame)}\n\n`)
  let connections = 0
  const http = await listen(async (request) => {
    const at = request.url.slice(request.url.lastIndexOf('/') + 1)
    if (request.method === 'POST') {
      const body = (await request.json()) as JsonObject
      posts.push({ ...body, at })
      const answered = await answer(at, body)
      return answered instanceof Response ? answered : Response.json(answered)
    }
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        frames = controller
        const connectionId = `c${++connections}`
        controller.enqueue(encode({ type: 'welcome', protocolVersion: 2, connectionId }, 'welcome'))
      },
    })
    return new Response(stream, { headers: { 'Content-Type': 'text/event-stream' } })
  })
  cleanups.push(http.close)
  return {
    url: http.url,
    posts,
    sends: (frame: object) => frames?.enqueue(encode(frame)),
    prompts: () => posts.map(({ at, prompt }) => prompt ?? at),
  }
}

/**
 * The first prompt is held on its way: the client is told that the network failed; the copy goes on
 * when the test says so.
 */
function createSlowWay() {
  let held: (() => Promise<Response>) | undefined
  const fetchSlowly: Fetch = (url, init = {}) => {
    if (held || !url.endsWith('/send')) return fetch(url, init)
    const { signal: _, ...rest } = init
    held = () => fetch(url, rest)
    return Promise.reject(new TypeError('the network failed'))
  }
  return { fetch: fetchSlowly, arrives: () => (held as () => Promise<Response>)() }
}

describe('with the server half, which announces `lanes` and `cancels`', () => {
  test('prompts of a session run in order, one at a time; another session, a permission and a stop do not wait for them', async () => {
    const { url, ran, gates } = await serve()
    const first = gate()
    gates.set('a1', first.opened)
    const { chat } = await connectTo(url)
    for (const text of ['a1', 'a2', 'a3']) chat.send(prompt(text))
    chat.send({ ...prompt('b1'), sessionId: 's2' })
    await until(() => expect(ran.toSorted()).toEqual(['a1', 'b1']))
    first.open()
    await until(() => expect(ran).toHaveLength(4))
    expect(ran.filter((text) => text.startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
  })

  test('a prompt that waits in the client does not run after the stop, and the listener is told', async () => {
    const { url, ran, gates } = await serve()
    const first = gate()
    gates.set('a', first.opened)
    const { chat, news } = await connectTo(url)
    chat.send(prompt('a'))
    chat.send(prompt('b'))
    await until(() => expect(ran).toEqual(['a']))
    chat.send(STOP)
    chat.send(prompt('c'))
    await until(() => expect(news()).toMatchObject([{ type: '_rejected', code: 'cancelled', message: prompt('b') }]))
    first.open()
    await until(() => expect(ran).toEqual(['a', 'stop', 'c']))
    expect(news()).toHaveLength(1)
  })

  test('one that was lost on its way does not run when it arrives after the stop', async () => {
    const { url, ran } = await serve()
    const way = createSlowWay()
    const { chat, news } = await connectTo(url, { fetch: way.fetch, reconnectDelayMs: 5_000 })
    chat.send(prompt('a'))
    await until(() => expect(chat.connection.pending[0]?.error).toMatchObject({ code: 'network' }))
    chat.send(STOP)
    await until(() => expect(ran).toEqual(['stop']))
    const answer = await way.arrives()
    expect([answer.status, await answer.json()]).toEqual([409, { error: 'cancelled' }])
    await until(() => expect(news()).toMatchObject([{ type: '_rejected', code: 'cancelled', message: prompt('a') }]))
    expect(ran).toEqual(['stop'])
  })

  test('a new chat: the receipt names its session, and all of it is heard without a `_close`', async () => {
    const { url, server } = await serve({ onCommand: () => ({ sessionId: 'new' }) })
    await server.publish('new', { type: 'token', text: 'before the receipt' })
    const { chat, told } = await connectTo(url)
    chat.send({ type: 'send', prompt: 'hi' })
    await until(() => expect(chat.getTrackedSessions()).toEqual(['new']))
    await server.publish('new', { type: 'token', text: 'after it' })
    await until(() => expect(chat.getLastSeq('new')).toBe(2))
    expect(told.map(({ type, text }) => text ?? type)).toEqual(['_open', 'before the receipt', 'after it'])
  })

  test('a stream that is refused is `_stopped`, once', async () => {
    let isIn = true
    const { url } = await serve({ authenticate: () => (isIn ? { id: 'alice' } : null) })
    const { chat, told, news } = await connectTo(url, { transport: fetchStreamTransport })
    isIn = false
    chat.checkAndReconnect(true)
    chat.send(prompt('a'))
    await until(() => expect(news()).toHaveLength(1))
    expect(told).toMatchObject([{ type: '_open' }, { type: '_close' }, { type: '_stopped', code: 'unauthorized' }])
    expect(chat.send(prompt('b'))).toBe(false)
  })

  test('`transport`: the same over a stream that `fetch` reads', async () => {
    const { url, server, ran } = await serve()
    const urls: string[] = []
    const counting: Fetch = (address, init) => {
      urls.push(address.slice(url.length))
      return fetch(address, init)
    }
    const { chat, told } = await connectTo(url, { transport: fetchStreamTransport, fetch: counting })
    chat.trackSeq('s1', 0)
    chat.send(prompt('a'))
    await until(() => expect(ran).toEqual(['a']))
    await server.publish('s1', { type: 'token' })
    await until(() => expect(told.at(-1)).toMatchObject({ type: 'token', seq: 1 }))
    expect(urls).toEqual(['/events', '/send'])
  })
})

describe('with a server of protocol v2 that announces nothing', () => {
  test('prompts in order; stop, interrupt and permissions at once; two `switch_session` never swap', async () => {
    const slow = gate()
    const old = await serveOld(async (at, { prompt, sessionId }) => {
      if (prompt === 'a' || (at === 'switch' && sessionId === 's1')) await slow.opened
      return { ok: true }
    })
    const { chat } = await connectTo(old.url)
    for (const text of ['a', 'b']) chat.send(prompt(text))
    for (const sessionId of ['s1', 's2']) chat.send({ type: 'switch_session', sessionId })
    for (const type of ['interrupt', 'permission_response']) chat.send({ type, sessionId: 's1' })
    await until(() => expect(old.prompts().toSorted()).toEqual(['a', 'interrupt', 'permission', 'switch']))
    slow.open()
    await until(() => expect(old.posts).toHaveLength(6))
    expect(old.posts.flatMap(({ prompt = [] }) => prompt)).toEqual(['a', 'b'])
    expect(old.posts.flatMap(({ at, sessionId }) => (at === 'switch' ? [sessionId] : []))).toEqual(['s1', 's2'])
  })

  test('a stop overtakes: what waits is cancelled, what fails behind it is posted no more; the listener is told of both', async () => {
    const slow = gate()
    const old = await serveOld(async (at, { prompt }) => {
      if (prompt !== 'a') return { ok: true, at }
      await slow.opened
      return Response.json({ error: 'busy' }, { status: 503 })
    })
    const { chat, news } = await connectTo(old.url)
    chat.send(prompt('a'))
    chat.send(prompt('b'))
    await until(() => expect(old.prompts()).toEqual(['a']))
    chat.send(STOP)
    await until(() => expect(old.prompts()).toEqual(['a', 'stop']))
    slow.open()
    await until(() => expect(news()).toHaveLength(2))
    expect(news()).toMatchObject([
      { type: '_rejected', code: 'cancelled', message: prompt('b') },
      { type: '_unknown', code: 'cancelled', message: prompt('a') },
    ])
    chat.send(prompt('c'))
    await until(() => expect(old.prompts()).toEqual(['a', 'stop', 'c']))
  })

  test('one that was lost on its way is posted no more; its copy, if it arrives, is not kept from running', async () => {
    const old = await serveOld()
    const way = createSlowWay()
    const { chat, news } = await connectTo(old.url, { fetch: way.fetch, reconnectDelayMs: 5_000 })
    chat.send(prompt('a'))
    await until(() => expect(chat.connection.pending[0]?.error).toMatchObject({ code: 'network' }))
    chat.send(STOP)
    await until(() => expect(news()).toMatchObject([{ type: '_unknown', code: 'cancelled', message: prompt('a') }]))
    await way.arrives()
    expect(old.prompts()).toEqual(['stop', 'a'])
  })

  test('a new chat: the session of the receipt is resumed from its start, and again on the next stream', async () => {
    const old = await serveOld((at) => (at === 'send' ? { ok: true, sessionId: 'new' } : { ok: true }))
    const { chat, told } = await connectTo(old.url)
    chat.send({ type: 'send', sessionId: null, prompt: 'hi' })
    const resumes = () => old.posts.filter(({ at }) => at === 'reconnect').map(({ sessions }) => sessions)
    await until(() => expect(resumes()).toEqual([[{ sessionId: 'new', lastSeq: 0 }]]))
    await until(() => expect(chat.isConnected()).toBe(true))
    old.sends({ type: 'token', sessionId: 'new', seq: 1 })
    await until(() => expect(told.at(-1)).toMatchObject({ type: 'token' }))
    chat.checkAndReconnect(true)
    await until(() => expect(resumes().at(-1)).toEqual([{ sessionId: 'new', lastSeq: 1 }]))
  })

  test('what it refuses is `_rejected`, with the status that it gave', async () => {
    const old = await serveOld((at) => Response.json({ error: 'no' }, { status: at === 'send' ? 422 : 200 }))
    const { chat, news } = await connectTo(old.url)
    chat.send(prompt('a'))
    await until(() => expect(news()).toMatchObject([{ type: '_rejected', code: 'http', error: { status: 422 } }]))
  })
})
