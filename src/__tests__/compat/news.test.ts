import { fetchStreamTransport } from 'holdline/adapters'
import { persist } from 'holdline/storage'
import { describe, expect, test, vi } from 'vitest'
import { ConnectionError } from '../../errors'
import type { Feature } from '../../protocol'
import { sendFails, serverIsSilent } from '../../testing'
import { settles } from '../../testing/harness/virtualClock'
import {
  answeringLater,
  CLOSE,
  createCompatWorld,
  OPEN,
  prompt,
  setTheScene,
  token,
  warnings,
} from '../support/compatWorld'
import { createStorage } from '../support/storage'

setTheScene()

/** What the listener heard of messages and of the line's end. */
const news = ({ told }: ReturnType<typeof createCompatWorld>) =>
  told.filter(({ type }) => ['_rejected', '_unknown', '_stopped'].includes(type as string))

describe('what stops a message reaches the listener, once', () => {
  test('a message that the server refuses is `_rejected`, with the code, the error, the id and the message', async () => {
    const world = createCompatWorld({ server: [sendFails({ status: 403 })] })
    await world.opens()
    world.chat.send(prompt('a'))
    await settles()
    const error = expect.objectContaining({ code: 'forbidden', status: 403 })
    const id = world.post('send').key
    expect(news(world)).toEqual([{ type: '_rejected', code: 'forbidden', error, id, message: prompt('a') }])
    expect(news(world)[0]?.error).toBeInstanceOf(ConnectionError)
    expect(warnings).toEqual([error])
  })

  test('one that may have been applied is `_unknown`: it is not called refused', async () => {
    const world = createCompatWorld({ server: [{ post() {} }] })
    await world.opens()
    world.chat.send(prompt('a'))
    await settles()
    world.post('send').answers(500, { error: 'internal' })
    await settles()
    world.chat.send({ type: 'stop', sessionId: 's1' })
    await settles()
    expect(news(world)).toMatchObject([{ type: '_unknown', code: 'cancelled', message: prompt('a') }])
  })

  test('C26: what a full queue drops, what a stop takes back and what is cleared; the console is told of the first', async () => {
    const world = createCompatWorld({ server: [serverIsSilent()] })
    world.chat.connect()
    for (let number = 0; number <= 100; number++) world.chat.send({ ...prompt(`${number}`), sessionId: `s${number}` })
    await settles()
    expect(news(world)).toMatchObject([{ type: '_rejected', code: 'outbox-full', message: { prompt: '0' } }])
    world.chat.send({ type: 'stop', sessionId: 's7' })
    await settles()
    // A stop needs a place too.
    expect(news(world).slice(1)).toMatchObject([
      { code: 'outbox-full', message: { prompt: '1' } },
      { code: 'cancelled', message: { prompt: '7' } },
    ])
    world.chat.clearPendingSends()
    await settles()
    expect(news(world)).toHaveLength(102)
    expect(new Set(news(world).map(({ id }) => id)).size).toBe(102)
    expect(warnings).toHaveLength(2)
  })

  test('what `send` has turned down is told by its `false` alone', async () => {
    const world = createCompatWorld()
    await world.opens()
    expect(world.chat.send({ type: 'nonsense' })).toBe(false)
    await settles()
    expect(news(world)).toEqual([])
  })

  test('one that is accepted is no news', async () => {
    const world = createCompatWorld()
    await world.opens()
    world.chat.send(prompt('a'))
    await settles()
    expect(world.told).toEqual([OPEN])
  })

  test.each([true, false])(
    'C29: what the last page left is told of too, if the storage answers at once: %s',
    async (isSync) => {
      // Node has Web Locks from 24 on.
      vi.stubGlobal('navigator', undefined)
      const items = createStorage()
      const storage = persist(items)
      const old = createCompatWorld({ storage, server: [serverIsSilent()] })
      old.chat.connect()
      old.chat.send(prompt('left'))
      const [left] = old.chat.connection.pending
      old.chat.connection.dispose()
      const server = [sendFails({ status: 403 })]
      const next = createCompatWorld({ storage: isSync ? persist(items) : persist(answeringLater(items)), server })
      await next.opens()
      await settles()
      // Where posting does not wait for the storage, what it holds may have been posted.
      const type = isSync ? '_rejected' : '_unknown'
      expect(news(next)).toMatchObject([{ type, code: 'forbidden', id: left?.id, message: prompt('left') }])
    },
  )

  test('a listener that throws at it, or rejects, ends no process: it is warned of', async () => {
    const world = createCompatWorld({ server: [sendFails({ status: 403 })] })
    await world.opens()
    world.chat.onMessage(({ type }) => {
      throw new Error(`broken at ${type}`)
    })
    world.chat.send(prompt('a'))
    await settles()
    expect(warnings).toContainEqual(new Error('broken at _rejected'))
    expect(world.chat.isConnected()).toBe(true)
  })
})

describe('what stops the line reaches the listener, once', () => {
  test('a 401: `_close`, then `_stopped` with the code; the queue is kept', async () => {
    const world = createCompatWorld({ server: [sendFails({ status: 401, times: 1 })] })
    await world.opens()
    world.chat.send(prompt('a'))
    await settles()
    const error = expect.objectContaining({ code: 'unauthorized' })
    expect(world.told).toEqual([OPEN, CLOSE, { type: '_stopped', code: 'unauthorized', error }])
    expect(warnings).toEqual([error])
    world.chat.checkAndReconnect()
    await settles()
    expect(world.server.commands.map(({ message }) => message.prompt)).toEqual(['a'])
  })

  test('one that never opened: `_stopped` alone', async () => {
    const world = createCompatWorld({ server: [{ stream: (stream) => stream.fails(401) }] })
    world.chat.connect()
    await settles()
    expect(world.told).toMatchObject([{ type: '_stopped', code: 'unauthorized' }])
    expect(warnings).toHaveLength(1)
  })

  test('`disconnect()`, and a line that is trying again, are no stop', async () => {
    const world = createCompatWorld()
    await world.opens()
    world.stream.fails()
    await world.passes(1_000)
    world.chat.disconnect()
    await settles()
    expect(world.told).toEqual([OPEN, CLOSE, OPEN, CLOSE])
  })
})

describe('a receipt that names a session makes the line follow it', () => {
  const DRAFT = { type: 'send', sessionId: null, prompt: 'hi' }
  async function createAnswered(receipt: unknown, features: Feature[] = [], message: object = DRAFT) {
    const world = createCompatWorld({
      features,
      server: [{ post: (post, next) => (post.endpoint === 'send' ? undefined : next()) }],
    })
    await world.opens()
    world.chat.send(message as never)
    await settles()
    return {
      ...world,
      live: () => world.live,
      async answers() {
        world.post('send').answers(200, receipt)
        await settles()
      },
    }
  }

  test('from its first event on: by a resume, where the server cannot do better', async () => {
    const world = await createAnswered({ sessionId: 'new' })
    await world.answers()
    expect(world.chat.getTrackedSessions()).toEqual(['new'])
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 'new', lastSeq: 0 }])
    expect(world.told).toEqual([OPEN, CLOSE, OPEN])
  })

  test('by a `watch`, which closes nothing, where the server replays for one', async () => {
    const world = await createAnswered({ sessionId: 'new' }, ['watch-replay'])
    await world.answers()
    expect(world.posts.at(-1)).toMatchObject({ endpoint: 'watch', body: { sessionId: 'new', lastSeq: 0 } })
    expect(world.told).toEqual([OPEN])
  })

  test('one that is tracked already stays where it is', async () => {
    const world = await createAnswered({ sessionId: 's1' }, [], prompt('hi'))
    world.chat.trackSeq('s1', 40)
    await world.answers()
    expect(world.chat.getLastSeq('s1')).toBe(40)
    expect(world.postsTo('reconnect')).toEqual([])
  })

  test('one that was cleared while its prompt was under way is not', async () => {
    const world = await createAnswered({ sessionId: 's1' }, [], prompt('hi'))
    world.chat.clearSession('s1')
    await world.answers()
    expect(world.chat.getTrackedSessions()).toEqual([])
  })

  test('a line that is down takes it along in the next resume', async () => {
    const world = await createAnswered({ sessionId: 'new' })
    world.chat.connection.actor.send({ type: 'reconnect' })
    await world.answers()
    await settles()
    expect(world.postsTo('reconnect').at(-1)?.body.sessions).toEqual([{ sessionId: 'new', lastSeq: 0 }])
  })

  test.each([
    null,
    'new',
    {},
    { sessionId: null },
    { sessionId: '' },
    { sessionId: 7 },
    { sessionId: 'x'.repeat(1_025) },
    [],
  ])('a receipt that names none changes nothing: %j', async (receipt) => {
    const world = await createAnswered(receipt)
    await world.answers()
    expect(world.chat.getTrackedSessions()).toEqual([])
    expect(world.posts).toHaveLength(1)
  })

  test.each(['stop', 'session_close', 'unwatch', 'switch_session'])('only that of a prompt does: %s', async (type) => {
    const world = createCompatWorld({ server: [{ post: (post) => post.answers(200, { sessionId: 's1' }) }] })
    await world.opens()
    world.chat.send({ type, sessionId: 's1' })
    await settles()
    expect(world.chat.getTrackedSessions()).toEqual([])
  })
})

describe('what goes out at once', () => {
  test.each([null, undefined, ''])('messages without a session, which may be %j', async (sessionId) => {
    const world = createCompatWorld({ server: [{ post() {} }] })
    await world.opens()
    for (const text of ['a', 'b']) world.chat.send({ type: 'send', sessionId, prompt: text })
    await settles()
    expect(world.posts.map(({ body }) => body.prompt)).toEqual(['a', 'b'])
  })

  test('however many: no lane waits for a place', async () => {
    const world = createCompatWorld({ server: [{ post() {} }] })
    await world.opens()
    for (let number = 0; number < 20; number++) world.chat.send({ ...prompt('a'), sessionId: `s${number}` })
    for (let number = 0; number < 20; number++) world.chat.send({ type: 'interrupt', sessionId: 's0', number })
    await settles()
    expect(world.posts).toHaveLength(40)
  })

  test('stop, interrupt and permissions do not wait out the backoff of a prompt of their session', async () => {
    const world = createCompatWorld({ server: [sendFails({ status: 503, retryAfter: 60, times: 1 })] })
    await world.opens()
    world.chat.send(prompt('a'))
    await settles()
    for (const type of ['interrupt', 'permission_response', 'stop']) {
      world.chat.send({ type, sessionId: 's1' })
      await settles()
    }
    expect(world.server.commands.map(({ endpoint }) => endpoint)).toEqual(['interrupt', 'permission', 'stop'])
  })

  test('a `switch_session` that fails does not let the next one pass', async () => {
    const world = createCompatWorld({
      server: [
        {
          post: (post, next) =>
            post.endpoint === 'switch' && world.postsTo('switch').length === 1 ? post.answers(503) : next(),
        },
      ],
    })
    await world.opens()
    for (const sessionId of ['s1', null, 's2']) world.chat.send({ type: 'switch_session', sessionId })
    await world.passes(60_000)
    expect(world.server.commands.map(({ message }) => message.sessionId)).toEqual(['s1', null, 's2'])
  })
})

describe('`transport`', () => {
  test('carries the line in place of the EventSource, with the `fetch` of the option', async () => {
    const encoder = new TextEncoder()
    const urls: string[] = []
    const welcome = 'event: welcome\ndata: {"type":"welcome","protocolVersion":2,"connectionId":"c1"}\n\n'
    const world = createCompatWorld({
      transport: fetchStreamTransport,
      createEventSource: () => {
        throw new Error('not this one')
      },
      async fetch(url, init) {
        urls.push(`${init?.method ?? 'GET'} ${url} ${Object.keys(init?.headers ?? {}).includes('X-Connection-ID')}`)
        if (init?.method === 'POST') return Response.json({ ok: true })
        const body = new ReadableStream({
          start: (controller) => controller.enqueue(encoder.encode(`${welcome}data: ${JSON.stringify(token(1))}\n\n`)),
        })
        return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
      },
    })
    world.chat.connect()
    await vi.waitFor(() => expect(world.told).toEqual([OPEN, token(1)]))
    world.chat.send(prompt('hi'))
    await vi.waitFor(() =>
      expect(urls).toEqual(['GET http://test/api/chat/events false', 'POST http://test/api/chat/send true']),
    )
    world.chat.disconnect()
  })

  test('one that is no function is refused under its name', () => {
    expect(() => createCompatWorld({ transport: {} as never })).toThrow(/^transport: .* is not a function/)
  })
})

describe('the small differences that docs/migration.md lists', () => {
  async function calls() {
    const world = createCompatWorld({ features: [] })
    world.chat.trackSeq('s1', 7)
    await world.opens()
    world.chat.send(prompt('a'))
    await settles()
    world.chat.sendSuspend()
    await settles()
    const inits = world.calls.map(([url, init]) => [url.slice(url.lastIndexOf('/') + 1), init] as const)
    return Object.fromEntries(inits)
  }

  test('a request has `redirect` and `signal` too, the signal of a page `keepalive`, and none `credentials`', async () => {
    const fields = Object.entries(await calls()).map(([endpoint, init]) => [endpoint, Object.keys(init).sort()])
    const usual = ['body', 'headers', 'method', 'redirect', 'signal']
    expect(Object.fromEntries(fields)).toEqual({
      reconnect: usual,
      send: usual,
      suspend: ['body', 'headers', 'keepalive', 'method', 'redirect', 'signal'],
    })
  })

  test('a resume has a `resumeId` in its body, the signal of a page its `type`, the `connectionId` and the last `resumeId`', async () => {
    const { reconnect, suspend } = await calls()
    const sessions = [{ sessionId: 's1', lastSeq: 7 }]
    const bodies = [reconnect, suspend].map((init) => JSON.parse(String(init?.body)))
    expect(bodies).toEqual([
      { type: 'reconnect', resumeId: expect.any(String), sessions },
      {
        type: 'session_suspend',
        connectionId: 'c1',
        resumeId: bodies[0].resumeId,
        sessions: [expect.objectContaining({ sessionId: 's1' })],
      },
    ])
  })

  test('`fetch` is called after `send` has returned, in the same task', async () => {
    const world = createCompatWorld()
    await world.opens()
    world.chat.send(prompt('a'))
    expect(world.calls).toHaveLength(0)
    let inTask = -1
    const channel = new MessageChannel()
    channel.port1.onmessage = () => {
      inTask = world.calls.length
      channel.port1.close()
    }
    channel.port2.postMessage(null)
    await settles()
    await vi.waitFor(() => expect(inTask).toBe(1))
  })

  test('an EventSource is made with a second argument', async () => {
    const made: unknown[][] = []
    const world = createCompatWorld({
      createEventSource: ((...given: unknown[]) => {
        made.push(given)
        return { addEventListener() {}, close() {} }
      }) as never,
    })
    world.chat.connect()
    expect(made).toHaveLength(1)
    expect(made[0]?.[1]).toMatchObject({ withCredentials: false })
  })
})
