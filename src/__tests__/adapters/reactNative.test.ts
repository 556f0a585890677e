import type { ConnectionOptions, JsonObject } from 'holdline'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import { createChatServer, type SuspendCall } from '../../server'
import { reactNative, SseEventSource } from '../support/reactNative'
import { createAsyncStorage } from '../support/storage'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** The real server half over real HTTP. */
async function createServer() {
  const commands: (string | undefined)[] = []
  const suspended: SuspendCall[] = []
  const chat = createChatServer({
    authenticate: () => ({ id: 'u' }),
    authorize: () => true,
    onCommand: async ({ sessionId = '', message, idempotencyKey, publish }) => {
      commands.push(idempotencyKey)
      await publish(sessionId, { type: 'token', text: message.prompt })
      return { ok: true }
    },
    onSuspend: (call) => void suspended.push(call),
  })
  const http = await listen((request) => chat.fetch(request))
  cleanups.push(async () => {
    await chat.close()
    await http.close()
  })
  return { chat, http, commands, suspended }
}

describe('C77: React Native', () => {
  type App = ReturnType<typeof reactNative>['app']
  async function createApp(given: Partial<ConnectionOptions> | ((app: App) => Partial<ConnectionOptions>) = {}) {
    const server = await createServer()
    const { app, warnings } = reactNative()
    const options = typeof given === 'function' ? given(app) : given
    const states = new Set<(state: string) => void>()
    const networks = new Set<(state: { isConnected: boolean }) => void>()
    const lifecycle = app.appLifecycle(
      {
        addEventListener: (_, listener) => {
          states.add(listener)
          return { remove: () => states.delete(listener) }
        },
      },
      {
        addEventListener: (listener) => {
          networks.add(listener)
          listener({ isConnected: true })
          return () => networks.delete(listener)
        },
      },
    )
    const connection = app.createConnection({
      url: server.http.url,
      createEventSource: app.sseEventSource(SseEventSource),
      pageLifecycle: lifecycle,
      backoff: { base: 10, cap: 50 },
      ...options,
    })
    cleanups.push(connection.dispose)
    const texts: unknown[] = []
    connection.on('message', ({ text }: JsonObject) => texts.push(text))
    const tells = (state: string) => {
      for (const listener of states) listener(state)
    }
    const isOnline = (isConnected: boolean) => {
      for (const listener of networks) listener({ isConnected })
    }
    return { ...server, connection, texts, warnings, tells, isOnline, states, networks }
  }
  const prompt = (text: string) => ({ type: 'send', sessionId: 's1', prompt: text })

  test('connects, sends, and hears the answer', async () => {
    const { connection, texts, commands, warnings } = await createApp()
    connection.watch('s1')
    connection.connect()
    const delivery = connection.send(prompt('hi'))
    await expect(delivery.settled).resolves.toMatchObject({ status: 'accepted', receipt: { ok: true } })
    await vi.waitUntil(() => texts.length === 1)
    expect([texts, commands, warnings]).toEqual([['hi'], [delivery.id], []])
    expect(delivery.id).toMatch(/^[0-9a-f]{32}$/)
  })

  test('the stream is cut: it comes back, resumes, and what was missed is there', async () => {
    const { connection, texts, chat, http } = await createApp()
    connection.watch('s1')
    connection.connect()
    await vi.waitUntil(() => connection.isOpen)
    await chat.publish('s1', { type: 'token', text: 'a' })
    await vi.waitUntil(() => texts.length === 1)
    http.destroySockets()
    await chat.publish('s1', { type: 'token', text: 'b' })
    await vi.waitUntil(() => texts.length === 2)
    await vi.waitUntil(() => connection.isOpen)
    expect([texts, connection.cursor('s1')?.lastSeq]).toEqual([['a', 'b'], 2])
  })

  test('the server ends the stream, which that EventSource calls done: it comes back', async () => {
    const { connection, http } = await createApp({
      createEventSource: reactNative().app.sseEventSource(
        class extends SseEventSource {
          override addEventListener(type: string, listener: (event: never) => void) {
            super.addEventListener(type, listener)
            if (type === 'done') setImmediate(() => listener({ type: 'done' } as never))
          }
        },
      ),
      backoff: { base: 10, cap: 50, maxAttempts: 2 },
    })
    const stopped = new Promise<{ error: Error }>((resolve) => connection.on('stopped', resolve))
    connection.connect()
    expect((await stopped).error).toMatchObject({ code: 'gave-up', cause: { message: 'the stream ended' } })
    expect(http.mostStreams).toBeGreaterThan(0)
  })

  test('to the background and back: the server is told how far it got, over plain fetch; and the line lives', async () => {
    const { connection, chat, texts, suspended, tells, isOnline, states, networks } = await createApp()
    connection.watch('s1')
    connection.connect()
    await vi.waitUntil(() => connection.isOpen)
    await chat.publish('s1', { type: 'token', text: 'a' })
    await vi.waitUntil(() => texts.length === 1)
    tells('inactive')
    tells('background')
    await vi.waitUntil(() => suspended.length === 1)
    expect(suspended[0]?.sessions).toMatchObject([{ sessionId: 's1', lastSeq: 1 }])
    tells('active')
    await chat.publish('s1', { type: 'token', text: 'b' })
    await vi.waitUntil(() => texts.length === 2)
    const before = connection.connectionId
    isOnline(false)
    isOnline(true)
    await vi.waitUntil(() => connection.isOpen && connection.connectionId !== before)
    connection.disconnect()
    expect([states.size, networks.size]).toEqual([0, 0])
  })

  test('a POST that is not answered in time is repeated under the same id', async () => {
    const { connection, commands, chat } = await createApp({ timeouts: { send: 100 } })
    const { fetch } = chat
    let times = 0
    chat.fetch = async (request) => {
      if (/send$/.test(request.url) && times++ === 0) await new Promise(() => {})
      return fetch(request)
    }
    connection.on('error', () => {})
    connection.connect()
    const verdict = await connection.send(prompt('hi'), { id: 'mine' }).settled
    expect([verdict.status, commands]).toEqual(['accepted', ['mine']])
    // A slow machine may miss the 100 ms again.
    expect(verdict.attempts).toBeGreaterThanOrEqual(2)
  })

  test('without a source of random numbers createConnection throws, and names the package that brings one', () => {
    const { app } = reactNative({ hasRandom: false })
    expect(() => app.createConnection({ url: 'https://host/api/chat' })).toThrow(
      "crypto.getRandomValues: there is none; in React Native import 'react-native-get-random-values' first",
    )
  })

  test('AsyncStorage keeps what has no verdict and, on request, the cursors: the app that starts next goes on with both', async () => {
    const AsyncStorage = createAsyncStorage()
    const options = { key: 'k', cursors: true }
    const old = await createApp((app) => ({ storage: app.persist(AsyncStorage, options) }))
    old.connection.watch('s1')
    old.connection.connect()
    await vi.waitUntil(() => old.connection.isOpen)
    await old.chat.publish('s1', { type: 'token', text: 'a' })
    await vi.waitUntil(() => AsyncStorage.stored('k:cursor:s1')[0]?.lastSeq === 1)
    old.connection.disconnect()
    old.connection.send(prompt('hi'), { id: 'mine' })
    await vi.waitUntil(() => AsyncStorage.stored('k:message:').length === 1)
    // The app is ended: nothing is called any more.
    await old.chat.publish('s1', { type: 'token', text: 'b' })

    const next = await createApp((app) => ({
      url: old.http.url,
      storage: app.persist(AsyncStorage, options),
    }))
    next.connection.connect()
    await vi.waitUntil(() => next.texts.length === 2)
    await vi.waitUntil(() => AsyncStorage.stored('k:message:').length === 0)
    expect([next.texts, old.commands, next.warnings]).toEqual([['b', 'hi'], ['mine'], []])
  })

  test('AsyncStorage without persist() throws with the words to write, not later and silently', () => {
    const { app } = reactNative()
    expect(() =>
      app.createConnection({ url: 'https://host/api/chat', storage: createAsyncStorage() as never }),
    ).toThrow('storage: object is not what persist() returns')
  })

  test('without an EventSource the error names the option to give', async () => {
    const { app, warnings } = reactNative()
    const connection = app.createConnection({ url: 'http://127.0.0.1:9/api/chat' })
    cleanups.push(connection.dispose)
    connection.connect()
    await vi.waitUntil(() => connection.attempt > 2, { timeout: 20_000 })
    expect(connection.lastError?.message).toMatch(/^createEventSource: /)
    expect(warnings).toEqual([expect.stringContaining('createEventSource: ')])
  })

  test('a relative URL has nothing to be relative to: connect() throws', () => {
    const { app } = reactNative()
    const connection = app.createConnection({ url: '/api/chat' })
    expect(connection.connect).toThrow('url: /api/chat is relative, and here is no page')
  })
})
