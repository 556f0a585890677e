import { afterEach, describe, expect, test } from 'vitest'
import { type Handler, listen } from '../../../tools/shared/listen'
import { type Connection, type ConnectionOptions, createConnection, type Phase } from '../../index'
import { createChatServer, memoryLog } from '../../server'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const reaches = (connection: Connection, wanted: Phase) =>
  new Promise<void>((resolve) => {
    const ask = () => connection.phase === wanted && resolve()
    connection.on('phase', ask)
    ask()
  })

const chatServer = (
  authenticate: (request: Request) => { id: string } | null = () => ({ id: 'me' }),
  log = memoryLog(),
) => {
  const chat = createChatServer({
    log,
    authenticate,
    authorize: () => true,
    onCommand: ({ message, sessionId }) => {
      void chat.publish(sessionId ?? 's1', { type: 'echo', prompt: message.prompt })
      return { took: message.prompt }
    },
  })
  cleanups.push(() => chat.close())
  return chat
}

async function connected(handler: Handler, options: Partial<ConnectionOptions> = {}) {
  const server = await listen(handler)
  cleanups.push(server.close)
  const connection = createConnection({ url: server.url, backoff: { base: 1 }, ...options })
  cleanups.push(connection.dispose)
  return { server, connection }
}

/** Counts what the server is asked, and lets a test answer in its place. */
function spied(handler: Handler, instead: (request: Request, count: number) => Response | undefined = () => undefined) {
  const requests: Request[] = []
  const spy: Handler = (request) => {
    requests.push(request)
    const path = new URL(request.url).pathname
    const count = requests.filter(({ url }) => new URL(url).pathname === path).length
    return instead(request, count) ?? handler(request)
  }
  return { spy, requests, paths: () => requests.map(({ url }) => url.slice(url.lastIndexOf('/') + 1)) }
}

describe('the real EventSource and the real fetch', () => {
  test('a prompt goes up, its echo comes down, the receipt is the server’s', async () => {
    const { connection } = await connected(chatServer().fetch)
    const echo = new Promise((resolve) => connection.on('message', resolve))
    connection.watch('s1')
    connection.connect()
    const verdict = await connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' }).settled
    expect(verdict).toMatchObject({ status: 'accepted', attempts: 1, receipt: { took: 'hi' } })
    expect(await echo).toMatchObject({ type: 'echo', prompt: 'hi', sessionId: 's1', seq: 1 })
    expect(connection.cursor('s1')).toMatchObject({ sessionId: 's1', lastSeq: 1, epoch: expect.any(String) })
  })

  test('C16: after an error the package’s own retry never runs: each attempt is the machine’s', async () => {
    const { spy, paths } = spied(() => new Response(null, { status: 503 }))
    const { connection } = await connected(spy, { backoff: { base: 0, maxAttempts: 3 } })
    const stopped = new Promise((resolve) => connection.on('stopped', resolve))
    connection.connect()
    expect(await stopped).toMatchObject({ error: { code: 'gave-up' } })
    expect(connection.lastError?.cause).toMatchObject({ code: 'stream-failed', status: 503 })
    expect(paths()).toEqual(['events', 'events', 'events', 'events'])
  })

  test('C31: the stream’s request carries the headers; after a 401 the hook is asked once more and it is repeated', async () => {
    const { spy, paths } = spied(
      chatServer((request) => (request.headers.get('authorization') === 'new' ? { id: 'me' } : null)).fetch,
    )
    const reasons: string[] = []
    const { connection } = await connected(spy, {
      headers: async ({ reason }) => {
        reasons.push(reason)
        return { authorization: reason === 'unauthorized' ? 'new' : 'old' }
      },
    })
    connection.connect()
    await reaches(connection, 'open')
    expect(reasons).toEqual(['stream', 'unauthorized'])
    expect(paths()).toEqual(['events', 'events'])
  })

  test('C31: a stale token is not tried for ever: the second 401 in a row stops the line', async () => {
    const { spy, paths } = spied(chatServer(() => null).fetch)
    const { connection } = await connected(spy, { headers: () => ({ authorization: 'stale' }) })
    const stopped = new Promise((resolve) => connection.on('stopped', resolve))
    connection.connect()
    expect(await stopped).toMatchObject({ error: { code: 'unauthorized', status: 401 } })
    expect(connection.phase).toBe('idle')
    expect(paths()).toEqual(['events', 'events'])
  })

  test('fixed headers reach the stream and every POST', async () => {
    const { spy, requests } = spied(chatServer().fetch)
    const { connection } = await connected(spy, { headers: { 'x-tenant': 'acme' } })
    connection.watch('s1')
    connection.connect()
    await connection.send({ type: 'send', sessionId: 's1' }).settled
    expect(requests.map(({ headers }) => headers.get('x-tenant'))).toEqual(['acme', 'acme', 'acme'])
    expect(requests[0]?.headers.get('accept')).toBe('text/event-stream')
  })

  test('C21 C37: a server that forgot everything is told about by reset, and the line goes on', async () => {
    let chat = chatServer()
    const { server, connection } = await connected((request) => chat.fetch(request))
    const news: unknown[] = []
    connection.on('session', ({ status, from, to }) => news.push({ status, from, to }))
    connection.watch('s1')
    connection.connect()
    await reaches(connection, 'open')
    await connection.send({ type: 'send', sessionId: 's1', prompt: 'a' }).settled
    await new Promise<void>((resolve) => {
      if (connection.cursor('s1')?.lastSeq === 1) resolve()
      connection.on('message', () => resolve())
    })
    await chat.close()
    chat = chatServer()
    server.destroySockets()
    const verdict = await connection.send({ type: 'send', sessionId: 's1', prompt: 'b' }).settled
    expect(verdict).toMatchObject({ status: 'accepted', receipt: { took: 'b' } })
    expect(news).toEqual([
      { status: 'resumed', from: 0, to: 0 },
      { status: 'reset', from: 0, to: 0 },
    ])
  })

  test('C33: after a reset the app is told where the part begins that the server still has, and a watch fetches it', async () => {
    const chat = chatServer(undefined, memoryLog({ maxEvents: 3 }))
    for (let seq = 1; seq <= 10; seq++) await chat.publish('s1', { type: 'text' })
    const { connection } = await connected(chat.fetch)
    const heard: unknown[] = []
    connection.on('session', ({ sessionId, status, from, to }) => {
      heard.push(`${status} ${from}-${to}`)
      if (status === 'reset') connection.watch(sessionId, { after: from })
    })
    connection.on('message', ({ seq }) => heard.push(seq))
    connection.watch('s1')
    connection.connect()
    await expect.poll(() => heard.at(-1)).toBe(10)
    expect(heard).toEqual(['reset 7-10', 'resumed 7-10', 8, 9, 10])
  })

  test('a server that cannot be reached is a reason, not a crash', async () => {
    const { server, connection } = await connected(() => new Response())
    await server.close()
    connection.connect()
    await reaches(connection, 'backoff')
    expect(connection.lastError).toMatchObject({ code: 'stream-failed', retryable: true })
  })

  test.each([
    ['send', ['a']],
    // One that fails as a whole is halved.
    ['batch', ['a', 'b', 'c', 'd']],
  ])(
    'C27: an answer of %s that is HTML, or cut off in the middle, is no success and does not block the line',
    async (endpoint, texts) => {
      const html = () => new Response('<html>please log in', { headers: { 'content-type': 'text/html' } })
      const cut = () => {
        const body = new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode('{"took"'))
            // Later than the server waits for more before it writes what there is.
            setTimeout(() => controller.error(new Error('cut')), 50)
          },
        })
        return new Response(body, { headers: { 'content-type': 'application/json' } })
      }
      const { spy, paths } = spied(chatServer().fetch, (request, count) =>
        request.url.endsWith(`/${endpoint}`) ? [html, cut][count - 1]?.() : undefined,
      )
      const { connection } = await connected(spy)
      const errors: string[] = []
      connection.on('error', ({ error }) => errors.push(error.code))
      connection.connect()
      const deliveries = texts.map((prompt) => connection.send({ type: 'send', sessionId: 's1', prompt }))
      const verdicts = await Promise.all(deliveries.map(({ settled }) => settled))
      expect(verdicts).toMatchObject(texts.map((took) => ({ status: 'accepted', receipt: { took } })))
      expect(verdicts[0]?.attempts).toBe(3)
      expect(paths().slice(0, 4)).toEqual(['events', endpoint, endpoint, 'send'])
      expect(errors).toEqual(['bad-response', 'network'])
    },
  )

  test('C22: a stream that reads OPEN but says nothing is left behind, with the heartbeat that the server announced', async () => {
    const chat = createChatServer({
      log: memoryLog(),
      authenticate: () => ({ id: 'me' }),
      authorize: () => true,
      onCommand: () => null,
      heartbeat: 50,
    })
    cleanups.push(() => chat.close())
    let mute = true
    const { connection } = await connected(async (request) => {
      const response = await chat.fetch(request)
      if (!mute || !request.url.endsWith('/events')) return response
      mute = false
      const reader = response.body?.getReader()
      const body = new ReadableStream({
        async start(controller) {
          controller.enqueue((await reader?.read())?.value)
        },
      })
      return new Response(body, { headers: response.headers })
    })
    const lifecycle: string[] = []
    connection.on('opened', () => lifecycle.push('opened'))
    connection.on('closed', ({ reason }) => lifecycle.push(reason))
    const again = new Promise<void>((resolve) =>
      connection.on('opened', () => {
        if (lifecycle.length === 3) resolve()
      }),
    )
    connection.connect()
    await again
    expect(lifecycle).toEqual(['opened', 'silent', 'opened'])
  })
})
