import { readFileSync } from 'node:fs'
import { persist } from 'holdline/storage'
import { describe, expect, test, vi } from 'vitest'
import { type ChatConnection, type ChatConnectionOptions, createChatConnection } from '../../compat'
import { ENDPOINTS, type Feature } from '../../protocol'
import { resumeFails, serverIsSilent } from '../../testing'
import type { TestPost } from '../../testing/harness/network'
import { createPage } from '../../testing/harness/page'
import { settles } from '../../testing/harness/virtualClock'
import {
  CLOSE,
  createCompatWorld,
  FOREGROUND,
  OPEN,
  prompt,
  setTheScene,
  token,
  warnings,
} from '../support/compatWorld'
import { createStorage } from '../support/storage'

setTheScene()

test('C29: with `storage` the queue survives a reload, under the same id', async () => {
  // Node has Web Locks from 24 on.
  vi.stubGlobal('navigator', undefined)
  const storage = persist(createStorage())
  const old = createCompatWorld({ storage, server: [serverIsSilent()] })
  old.chat.connect()
  old.chat.send(prompt('hi'))
  const [left] = old.chat.connection.pending
  old.chat.connection.dispose()
  const next = createCompatWorld({ storage })
  await next.opens()
  expect(next.post('send').body).toEqual(prompt('hi'))
  expect(next.post('send').headers.get('idempotency-key')).toBe(left?.id)
})

/** A line whose resume is in flight: nothing is answered by itself. */
async function createResuming() {
  const world = createCompatWorld({ server: [serverIsSilent()] })
  world.chat.trackSeq('s1', 7)
  world.chat.connect()
  await world.welcomes()
  expect(world.post('reconnect').isAnswered).toBe(false)
  return world
}

const CURSORS_OF_S1 = [{ sessionId: 's1', lastSeq: 7 }]

describe('the interface of the client that this replaces', () => {
  test.each([
    ['http://test', 'http://test'],
    ['http://test/', 'http://test'],
    ['http://test/app//', 'http://test/app'],
    ['', 'http://page.test'],
  ])('the endpoints of %j are %s/api/chat/…', async (baseUrl, at) => {
    vi.stubGlobal('location', { href: 'http://page.test/index.html' })
    const world = createCompatWorld({ baseUrl })
    await world.opens()
    world.chat.send(prompt('hi'))
    await settles()
    expect(world.stream.url).toBe(`${at}/api/chat/events`)
    expect(world.calls.map(([url]) => url)).toEqual([`${at}/api/chat/send`])
  })

  test.each(Object.entries(ENDPOINTS))(
    'a message of the type %s goes to /%s, as it was given, with both headers',
    async (type, endpoint) => {
      const world = createCompatWorld()
      await world.opens()
      const message = { type, sessionId: 's1', nested: { a: [1, null] } }
      expect(world.chat.send(message)).toBe(true)
      await settles()
      const [[url, init] = ['', {}]] = world.calls
      expect(url).toBe(`http://test/api/chat/${endpoint}`)
      expect(init.method).toBe('POST')
      expect(init.body).toBe(JSON.stringify(message))
      expect(init.headers).toMatchObject({ 'Content-Type': 'application/json', 'X-Connection-ID': 'c1' })
    },
  )

  test('a wrapper of fetch may spread the headers: none is lost', async () => {
    const world = createCompatWorld()
    await world.opens()
    world.chat.send(prompt('hi'))
    await settles()
    const { headers } = world.calls[0]?.[1] ?? {}
    expect(Object.keys({ ...headers, Authorization: 'Bearer x' }).sort()).toEqual([
      'Authorization',
      'Content-Type',
      'Idempotency-Key',
      'X-Connection-ID',
    ])
  })

  test.each([{ type: 'nonsense' }, {}, undefined, null, 'send', { type: 'toString' }])(
    'what can never be posted is false, and no exception: %j',
    async (message) => {
      const world = createCompatWorld()
      await world.opens()
      expect(world.chat.send(message as never)).toBe(false)
      await settles()
      expect(world.posts).toEqual([])
      expect(warnings).toEqual([])
    },
  )

  test('while connected a message goes out at once, unless an earlier prompt of its session is on its way', async () => {
    const world = createCompatWorld({ server: [{ post() {} }] })
    await world.opens()
    for (const sessionId of ['s1', 's2', undefined, undefined, 's1'])
      expect(world.chat.send({ type: 'send', sessionId, prompt: sessionId })).toBe(true)
    for (const type of ['interrupt', 'permission_response', 'interrupt', 'stop']) {
      await settles()
      expect(world.chat.send({ type, sessionId: 's1' })).toBe(true)
    }
    await settles()
    const now = ['send s1', 'send s2', 'send undefined', 'send undefined']
    const stops = ['interrupt s1', 'permission s1', 'interrupt s1', 'stop s1']
    expect(world.posts.map(({ endpoint, body }) => `${endpoint} ${body.sessionId}`)).toEqual([...now, ...stops])
  })

  test('two prompts of a session, and two `switch_session`, never swap', async () => {
    const world = createCompatWorld({ server: [{ post() {} }] })
    await world.opens()
    for (const text of ['a', 'b']) world.chat.send(prompt(text))
    for (const sessionId of ['s1', 's2']) world.chat.send({ type: 'switch_session', sessionId })
    await settles()
    expect(world.posts.map(({ endpoint, body }) => body.prompt ?? `${endpoint} ${body.sessionId}`)).toEqual([
      'a',
      'switch s1',
    ])
    for (const post of [...world.posts]) post.answers(200)
    await settles()
    expect(world.posts.slice(2).map(({ endpoint, body }) => body.prompt ?? `${endpoint} ${body.sessionId}`)).toEqual([
      'b',
      'switch s2',
    ])
  })

  test('the queue holds 100 and drops the oldest; C26: it says so', async () => {
    const world = createCompatWorld()
    world.chat.connect()
    for (let number = 0; number <= 100; number++) expect(world.chat.send(prompt(`${number}`))).toBe(true)
    await settles()
    expect(warnings).toEqual([expect.objectContaining({ code: 'outbox-full' })])
    const sent = world.server.commands.map(({ message }) => message.prompt)
    expect(sent).toEqual(Array.from({ length: 100 }, (_, index) => `${index + 1}`))
  })

  test('a message may be as large as it likes: images are part of prompts', async () => {
    const world = createCompatWorld()
    await world.opens()
    expect(world.chat.send(prompt('x'.repeat(5_000_000)))).toBe(true)
    await settles()
    expect(world.server.commands).toHaveLength(1)
  })

  test('send is false in idle; what was queued before is kept', async () => {
    const world = createCompatWorld()
    expect(world.chat.send(prompt('never'))).toBe(false)
    world.chat.connect()
    expect(world.chat.send(prompt('kept'))).toBe(true)
    world.chat.disconnect()
    expect(world.chat.send(prompt('never'))).toBe(false)
    await world.opens()
    await settles()
    expect(world.server.commands.map(({ message }) => message.prompt)).toEqual(['kept'])
  })

  test('the listener hears what opens, every message of the server, and what closes, in order', async () => {
    const world = createCompatWorld()
    await world.opens()
    world.stream.sends(token(1))
    world.stream.sends({ type: 'inbox_updated' })
    world.stream.fails()
    await settles()
    expect(world.told).toEqual([OPEN, token(1), { type: 'inbox_updated' }, CLOSE])
  })

  test('there is one listener: the next takes its place', async () => {
    const world = createCompatWorld()
    await world.opens()
    const second: unknown[] = []
    world.chat.onMessage((message) => second.push(message))
    world.stream.sends(token(1))
    expect(world.told).toEqual([OPEN])
    expect(second).toEqual([token(1)])
  })

  test('a listener that throws harms nothing: not the line, not what comes after', async () => {
    const page = createPage()
    vi.stubGlobal('document', page.document)
    const world = createCompatWorld()
    const heard: unknown[] = []
    world.chat.onMessage((message) => {
      heard.push(message)
      if (heard.length < 5) throw new Error('the app is broken')
    })
    await world.opens()
    page.shows()
    world.stream.sends(token(1))
    world.stream.sends(token(2))
    await world.passes(5_000)
    expect(heard).toEqual([OPEN, FOREGROUND, token(1), token(1), token(1), token(2)])
    expect(world.chat.isConnected()).toBe(true)
    expect(world.chat.getLastSeq('s1')).toBe(2)
    expect(warnings).toContainEqual(new Error('the app is broken'))
  })

  test('_foreground is told each time the page is visible again, after the line has looked after itself', async () => {
    const page = createPage()
    vi.stubGlobal('document', page.document)
    const world = createCompatWorld()
    page.shows()
    expect(world.told).toEqual([])

    await world.opens()
    page.hides()
    page.goesOffline()
    page.comesOnline()
    expect(world.told).toEqual([OPEN])
    world.chat.onMessage((message) => world.told.push({ ...message, connected: world.chat.isConnected() }))
    await world.passes(60_000)
    page.shows()
    expect(world.told.slice(1)).toEqual([
      // Nobody knows of a stream that stood for a minute: the line is made anew, before the app
      // asks for what it missed.
      { ...CLOSE, connected: false },
      { ...FOREGROUND, connected: false },
    ])

    page.shows()
    expect(world.told).toHaveLength(4)
    world.chat.disconnect()
    expect(page.listeners).toBe(0)
    page.shows()
    expect(world.told).toHaveLength(4)
  })

  test('_foreground does not wait for the line to be open', () => {
    const page = createPage()
    vi.stubGlobal('document', page.document)
    const world = createCompatWorld({ server: [serverIsSilent()] })
    world.chat.connect()
    page.shows()
    expect(world.told).toEqual([FOREGROUND])
  })

  test('the connection id is null before the welcome', async () => {
    const world = createCompatWorld()
    expect(world.chat.getConnectionId()).toBeNull()
    await world.opens()
    expect(world.chat.getConnectionId()).toBe('c1')
  })

  test('not connected, and not told _open, between a welcome and the end of the resume', async () => {
    const world = await createResuming()
    expect(world.chat.isConnected()).toBe(false)
    expect(world.told).toEqual([])
    world.post('reconnect').answers(200, { ok: true })
    await settles()
    expect(world.chat.isConnected()).toBe(true)
    expect(world.told).toEqual([OPEN])
  })

  test('trackSeq sets a cursor, only forward, and getLastSeq is 0 where there is none', () => {
    const { chat } = createCompatWorld()
    expect(chat.getLastSeq('s1')).toBe(0)
    chat.trackSeq('s1', 5)
    chat.trackSeq('s1', 3)
    chat.trackSeq('s2', 0)
    expect(chat.getLastSeq('s1')).toBe(5)
    expect(chat.getTrackedSessions()).toEqual(['s1', 's2'])
  })

  test.each([
    ['', 1],
    [undefined, 1],
    ['s1', -1],
    ['s1', 1.5],
    ['s1', Number.NaN],
    ['s1', undefined],
  ])('trackSeq(%j, %j) is no cursor, and no exception', (sessionId, seq) => {
    const { chat } = createCompatWorld()
    chat.trackSeq(sessionId as string, seq as number)
    expect(chat.getTrackedSessions()).toEqual([])
  })

  test.each([[[]], [['watch-replay', 'contiguous-seq']]] as Feature[][][])(
    'trackSeq never posts anything, not while connected either, whatever the server can: %j',
    async (features) => {
      const world = createCompatWorld({ features })
      await world.opens()
      // As it was used: after each message, in its listener or later; and for what a cached history
      // has.
      world.chat.onMessage(({ sessionId, seq }) => world.chat.trackSeq(String(sessionId), Number(seq)))
      world.stream.sends(token(1))
      world.stream.sends(token(2))
      world.chat.trackSeq('s1', 2)
      world.chat.trackSeq('s2', 30)
      await settles()
      expect(world.posts).toEqual([])
      expect(world.told).toEqual([OPEN])

      world.chat.trackSeq('s1', 9)
      world.stream.sends(token(10))
      expect(world.chat.getLastSeq('s1')).toBe(10)
      world.stream.fails()
      await world.passes(1_000)
      expect(world.posts).toHaveLength(1)
      expect(world.post('reconnect').body.sessions).toEqual([
        { sessionId: 's1', lastSeq: 10 },
        { sessionId: 's2', lastSeq: 30 },
      ])
    },
  )

  test('a session that was cleared is not resumed; its next event is heard, and tracks it anew', async () => {
    const world = createCompatWorld()
    await world.opens()
    world.stream.sends(token(1))
    world.chat.clearSession('s1')
    expect(world.chat.getTrackedSessions()).toEqual([])
    expect(world.chat.getLastSeq('s1')).toBe(0)
    world.chat.checkAndReconnect(true)
    await settles()
    expect(world.chat.isConnected()).toBe(true)
    expect(world.posts).toEqual([])

    world.stream.sends(token(5))
    expect(world.told.at(-1)).toEqual(token(5))
    expect(world.chat.getLastSeq('s1')).toBe(5)
  })

  test.each([
    ['clearSession', (chat: ChatConnection) => chat.clearSession('s1')],
    ['trackSeq', (chat: ChatConnection) => chat.trackSeq('s1', 8)],
  ])('what comes for a session that the server has called gone is heard again after %s', async (_, names) => {
    const world = await createResuming()
    const verdict = { sessionId: 's1', status: 'gone' }
    world.post('reconnect').answers(200, { ok: true, sessions: [verdict] })
    await settles()
    world.stream.sends(token(8))
    expect(world.told).toEqual([OPEN])
    names(world.chat)
    world.stream.sends(token(9))
    expect(world.told).toEqual([OPEN, token(9)])
  })

  test('clearPendingSends gives up what waits; what is under way stays under way', async () => {
    const world = createCompatWorld({ server: [serverIsSilent()] })
    world.chat.connect()
    await world.welcomes()
    world.chat.send(prompt('under way'))
    await settles()
    world.stream.fails()
    world.chat.send(prompt('waits'))
    world.chat.clearPendingSends()
    expect(world.post('send').isAborted).toBe(false)
    world.post('send').answers(200)
    await world.passes(1_000)
    await world.welcomes()
    expect(world.chat.isConnected()).toBe(true)
    expect(world.postsTo('send').map(({ body }) => body.prompt)).toEqual(['under way'])
    expect(warnings).not.toContainEqual(expect.objectContaining({ code: 'cancelled' }))
  })

  test('sendSuspend posts the cursors; without tracked sessions it does nothing', async () => {
    const world = createCompatWorld()
    await world.opens()
    world.chat.sendSuspend()
    await settles()
    expect(world.posts).toEqual([])
    world.chat.trackSeq('s1', 7)
    world.chat.sendSuspend()
    await settles()
    expect(world.calls.map(([url]) => url)).toEqual(['http://test/api/chat/suspend'])
    expect(world.post('suspend').body).toMatchObject({ type: 'session_suspend', sessions: CURSORS_OF_S1 })
  })

  test('suspendUrl is where the signal goes, and nothing else; its body says whose it is', async () => {
    const world = createCompatWorld({ suspendUrl: '/api/sessions/suspend' })
    await world.opens()
    world.chat.trackSeq('s1', 7)
    world.chat.send({ type: 'session_suspend', by: 'hand' })
    await settles()
    world.chat.sendSuspend()
    await settles()
    expect(world.calls.map(([url]) => url).sort()).toEqual(['/api/sessions/suspend', 'http://test/api/chat/suspend'])
    expect(world.posts.find(({ keepalive }) => keepalive)?.body).toEqual({
      type: 'session_suspend',
      sessions: CURSORS_OF_S1,
      connectionId: 'c1',
      resumeId: null,
    })
  })

  test('suspendUrl is where the beacon goes in a browser whose fetch knows no keepalive', async () => {
    const sendBeacon = vi.fn()
    vi.stubGlobal('Request', class {})
    vi.stubGlobal('navigator', { sendBeacon })
    const world = createCompatWorld({ suspendUrl: '/api/sessions/suspend' })
    await world.opens()
    world.chat.trackSeq('s1', 7)
    world.chat.sendSuspend()
    expect(world.posts).toEqual([])
    const [url, blob] = sendBeacon.mock.calls[0] ?? []
    expect(url).toBe('/api/sessions/suspend')
    expect(JSON.parse(await blob.text())).toEqual({
      type: 'session_suspend',
      sessions: CURSORS_OF_S1,
      connectionId: 'c1',
      resumeId: null,
    })
  })

  test('checkAndReconnect does nothing while connected, unless it is forced', async () => {
    const world = createCompatWorld()
    await world.opens()
    world.chat.checkAndReconnect()
    await settles()
    expect(world.streams).toHaveLength(1)
    expect(world.told).toEqual([OPEN])
    world.chat.checkAndReconnect(true)
    await settles()
    expect(world.streams).toHaveLength(2)
    expect(world.live).toHaveLength(1)
    expect(world.told).toEqual([OPEN, CLOSE, OPEN])
  })

  test('checkAndReconnect ends the wait for a retry, lets an attempt go on, and starts a line that is down', async () => {
    const world = createCompatWorld({ server: [serverIsSilent()] })
    world.chat.checkAndReconnect()
    expect(world.streams).toHaveLength(1)
    world.chat.checkAndReconnect()
    expect(world.streams).toHaveLength(1)
    world.stream.fails()
    expect(world.live).toHaveLength(0)
    world.chat.checkAndReconnect()
    expect(world.live).toHaveLength(1)
    expect(world.streams).toHaveLength(2)
  })

  test('reconnectDelayMs is the base of the backoff: the first retry comes within it', async () => {
    const world = createCompatWorld({ reconnectDelayMs: 2_000 })
    await world.opens()
    world.stream.fails()
    // Half of it is what the dice say here.
    await world.passes(999)
    expect(world.streams).toHaveLength(1)
    await world.passes(1)
    expect(world.streams).toHaveLength(2)
  })

  test('docs/migration.md names every member, every option and all that is told', () => {
    const guide = readFileSync(new URL('../../../docs/migration.md', import.meta.url), 'utf8')
    const { chat } = createCompatWorld()
    const members = Object.keys(chat) as (keyof ChatConnection)[]
    const options: (keyof ChatConnectionOptions)[] = [
      'baseUrl',
      'fetch',
      'createEventSource',
      'reconnectDelayMs',
      'suspendUrl',
      'storage',
      'transport',
    ]
    expect(members).toHaveLength(14)
    for (const member of members) expect(guide).toMatch(new RegExp(`^\\| [^|]*\`${member}\\b`, 'm'))
    const told = ['_open', '_close', '_stopped', '_rejected', '_unknown', '_foreground']
    for (const type of told) expect(guide).toMatch(new RegExp(`^\\| [^|]*\`${type}\``, 'm'))
    for (const option of options) expect(guide).toMatch(new RegExp(`^\\| \`${option}\``, 'm'))
  })
})

describe('what went wrong in that client cannot happen here', () => {
  test('C01: nothing is sent, and nothing opens, before the resume has been answered', async () => {
    const world = await createResuming()
    world.chat.send(prompt('early'))
    await settles()
    expect(world.posts.map(({ endpoint }) => endpoint)).toEqual(['reconnect'])
    world.post('reconnect').answers(200, { ok: true })
    await settles()
    expect(world.posts.map(({ endpoint }) => endpoint)).toEqual(['reconnect', 'send'])
    expect(world.told).toEqual([OPEN])
  })

  test('C02: what is sent after the welcome stands behind what was queued before it', async () => {
    const world = createCompatWorld({ server: [serverIsSilent()] })
    world.chat.trackSeq('s1', 7)
    world.chat.connect()
    world.chat.send(prompt('before'))
    await world.welcomes()
    expect(world.chat.isConnected()).toBe(false)
    expect(world.chat.send(prompt('after'))).toBe(true)
    await settles()
    expect(world.postsTo('send')).toEqual([])
    world.post('reconnect').answers(200)
    await settles()
    expect(world.postsTo('send').map(({ body }) => body.prompt)).toEqual(['before'])
    world.post('send').answers(200)
    await settles()
    expect(world.postsTo('send').map(({ body }) => body.prompt)).toEqual(['before', 'after'])
  })

  test('C03: after disconnect, the late answer of a resume opens nothing', async () => {
    const world = await createResuming()
    world.chat.disconnect()
    world.post('reconnect').answers(200, { ok: true })
    await settles()
    expect(world.chat.isConnected()).toBe(false)
    expect(world.told).toEqual([])
  })

  test('C04: two welcomes in a row are one resume in flight and one _open', async () => {
    const world = await createResuming()
    await world.welcomes('c2')
    const [first, second] = world.postsTo('reconnect')
    expect(first?.isAborted).toBe(true)
    expect(second?.connectionId).toBe('c2')
    first?.answers(200, { ok: true })
    await settles()
    expect(world.chat.isConnected()).toBe(false)
    second?.answers(200, { ok: true })
    await settles()
    expect(world.chat.isConnected()).toBe(true)
    expect(world.told).toEqual([OPEN])
  })

  test.each([
    ['500', (post: TestPost) => post.answers(500)],
    ['a network error', (post: TestPost) => post.fails()],
  ])('C05: a failed resume never opens, and sends nothing: %s', async (_, fails) => {
    const world = await createResuming()
    world.chat.send(prompt('kept'))
    fails(world.post('reconnect'))
    await settles()
    expect(world.chat.isConnected()).toBe(false)
    expect(world.told).toEqual([])
    expect(world.postsTo('send')).toEqual([])
  })

  test('C06: after a failed resume a fresh stream is made, though the old one was healthy', async () => {
    const world = createCompatWorld({ server: [resumeFails({ status: 500, times: 1 })] })
    world.chat.trackSeq('s1', 0)
    world.chat.connect()
    await settles()
    expect(world.live).toEqual([])
    await world.passes(1_000)
    expect(world.streams).toHaveLength(2)
    expect(world.chat.isConnected()).toBe(true)
  })

  test('C07: a resume that always fails is not repeated in a tight loop', async () => {
    const world = createCompatWorld({ server: [resumeFails({ status: 500 })], reconnectDelayMs: 500 })
    world.chat.trackSeq('s1', 7)
    world.chat.connect()
    await world.passes(60_000)
    const gaps = world.streams.slice(1).map(({ at }, index) => at - (world.streams[index]?.at ?? 0))
    expect(gaps.slice(0, 7)).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000])
    expect(world.streams.length).toBeLessThan(11)
  })

  test('C08: _close is told only after _open', async () => {
    const world = await createResuming()
    world.stream.fails()
    world.chat.checkAndReconnect(true)
    world.chat.disconnect()
    await settles()
    expect(world.told).toEqual([])
    world.chat.clearSession('s1')
    world.chat.connect()
    await world.welcomes()
    world.stream.fails()
    world.chat.disconnect()
    await settles()
    expect(world.told).toEqual([OPEN, CLOSE])
  })

  test('C09: a forced reconnect while a resume is in flight: the answer to the old one means nothing', async () => {
    const world = await createResuming()
    world.chat.checkAndReconnect(true)
    world.post('reconnect').answers(200, { ok: true })
    await settles()
    expect(world.chat.isConnected()).toBe(false)
    await world.welcomes()
    expect(world.chat.isConnected()).toBe(false)
    world.post('reconnect').answers(200, { ok: true })
    await settles()
    expect(world.told).toEqual([OPEN])
  })

  test('C10: replayed messages are heard while the resume is in flight', async () => {
    const world = await createResuming()
    world.stream.sends(token(8))
    expect(world.told).toEqual([token(8)])
    expect(world.chat.isConnected()).toBe(false)
  })

  test('C11: queued messages survive a failed resume', async () => {
    const world = createCompatWorld({ server: [resumeFails({ status: 500, times: 1 })] })
    world.chat.trackSeq('s1', 0)
    world.chat.connect()
    world.chat.send(prompt('first'))
    await settles()
    world.chat.send(prompt('second'))
    await world.passes(1_000)
    expect(world.server.commands.map(({ message }) => message.prompt)).toEqual(['first', 'second'])
  })

  test('C12: without tracked sessions no resume is sent: the welcome opens', async () => {
    const world = createCompatWorld()
    await world.opens()
    world.chat.checkAndReconnect(true)
    await settles()
    expect(world.told).toEqual([OPEN, CLOSE, OPEN])
    expect(world.posts).toEqual([])
  })

  test.each(['reconnect', 'probe', 'batch'])('C13: %s cannot be sent by hand', async (type) => {
    const world = createCompatWorld()
    await world.opens()
    expect(world.chat.send({ type, sessions: [] })).toBe(false)
    await settles()
    expect(world.posts).toEqual([])
  })

  test('C14: a resume that fails leaves a trace: a warning, and the error on the connection', async () => {
    const world = await createResuming()
    world.post('reconnect').answers(503)
    await world.passes(1_000)
    expect(world.streams).toHaveLength(2)
    const error = expect.objectContaining({ code: 'http', status: 503 })
    // The first connect that fails is told twice: by the connection with its URL, and by this
    // interface like any failure.
    const { lastError } = world.chat.connection
    expect(warnings).toEqual([expect.stringContaining(String(lastError?.message)), error])
    expect(warnings).toContain(lastError)
  })

  test('C15: the URL of a stream carries no sessions', async () => {
    const world = await createResuming()
    world.chat.checkAndReconnect(true)
    expect(world.streams.map(({ url }) => url)).toEqual(Array(2).fill('http://test/api/chat/events'))
  })

  test('C16: the stream is closed at its first error, so its own retry races nothing', async () => {
    const world = createCompatWorld()
    await world.opens()
    const [first] = world.streams
    first?.fails()
    expect(first?.isClosed).toBe(true)
    world.chat.checkAndReconnect(true)
    first?.welcomes({ connectionId: 'of the past' })
    await world.passes(60_000)
    expect(world.live).toHaveLength(1)
    expect(world.streams).toHaveLength(2)
    expect(world.told).toEqual([OPEN, CLOSE, OPEN])
  })

  test('C18: tracked sessions are resumed on the first welcome too', async () => {
    const world = await createResuming()
    expect(world.post('reconnect').body.sessions).toEqual(CURSORS_OF_S1)
  })
})

describe('what is told by the library cannot be told by a server', () => {
  const OTHERS = ['_stopped', '_rejected', '_unknown'].map((type) => ({ type }))
  test.each([OPEN, CLOSE, FOREGROUND, ...OTHERS])('a frame $type does not reach the listener', async (frame) => {
    const world = createCompatWorld()
    await world.opens()
    world.told.length = 0
    world.server.sends(frame)
    world.server.sends({ ...frame, sessionId: 's1', seq: 1 })
    world.server.sends({ type: '_else' })
    expect(world.told).toEqual([{ type: '_else' }])
    expect(world.chat.getLastSeq('s1')).toBe(1)
  })
})

describe('an option that cannot be is refused at once, under the name that it has here', () => {
  const fetch = async () => new Response()
  test.each<[string, unknown]>([
    ['baseUrl', { fetch }],
    ['baseUrl', { fetch, baseUrl: 5 }],
    ['baseUrl', { fetch, baseUrl: 'ftp://test' }],
    ['baseUrl', { fetch, baseUrl: 'localhost:3000' }],
    ['fetch', { baseUrl: 'http://test' }],
    ['fetch', { baseUrl: 'http://test', fetch: 'fetch' }],
    ['suspendUrl', { baseUrl: 'http://test', fetch, suspendUrl: 5 }],
    ['createEventSource', { baseUrl: 'http://test', fetch, createEventSource: {} }],
    ['reconnectDelayMs', { baseUrl: 'http://test', fetch, reconnectDelayMs: -1 }],
    ['reconnectDelay', { baseUrl: 'http://test', fetch, reconnectDelay: 1 }],
    ['options', undefined],
  ])('%s: %j', (name, options) => {
    const refused = { code: 'invalid-option', message: expect.stringMatching(`^${name}: `) }
    expect(() => createChatConnection(options as never)).toThrow(expect.objectContaining(refused))
  })
})

test('a listener whose promise rejects ends no process: it is warned of', async () => {
  const lost = vi.fn()
  process.prependListener('unhandledRejection', lost)
  const others = process.listeners('unhandledRejection').filter((other) => other !== lost)
  for (const other of others) process.removeListener('unhandledRejection', other)
  const page = createPage()
  vi.stubGlobal('document', page.document)
  const world = createCompatWorld()
  world.chat.onMessage(async ({ type }) => {
    throw new Error(String(type))
  })
  await world.opens()
  page.shows()
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  process.removeListener('unhandledRejection', lost)
  for (const other of others) process.on('unhandledRejection', other)
  expect(lost).not.toHaveBeenCalled()
  expect(warnings).toContainEqual(expect.objectContaining({ code: 'listener-failed', cause: new Error('_open') }))
  expect(warnings).toContainEqual(new Error('_foreground'))
})
