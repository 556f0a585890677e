import { persist } from 'holdline/storage'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { readOptions } from '../../connection/options'
import { ConnectionError, type ConnectionOptions, createConnection } from '../../index'
import { createStorage } from '../support/storage'

afterEach(() => vi.unstubAllGlobals())

const url = 'https://host/api/chat'
const storage = createStorage()
const refusal = (options: unknown) => {
  try {
    createConnection(options as ConnectionOptions)
  } catch (error) {
    return error
  }
  return undefined
}

test('an option that does not fit throws a ConnectionError that names it', () => {
  const culprits: [string, unknown][] = [
    ['options', undefined],
    ['options', 'https://host'],
    ['url', {}],
    ['url', { url: 7 }],
    ['url', { url: '/x?relative' }],
    ['url', { url: 'mailto:x' }],
    ['url', { url: 'ftp://host/x' }],
    ['url', { url: 'https://host/x?token=1' }],
    ['url', { url: 'https://host/x#y' }],
    ['url', { url: 'https://me:secret@host/x' }],
    ['uri', { uri: url }],
    ['fetch', { url, fetch: 'node-fetch' }],
    ['createEventSource', { url, createEventSource: {} }],
    ['headers', { url, headers: 'Bearer x' }],
    ['headers', { url, headers: { 'x y': 'z' } }],
    ['headers', { url, headers: { a: 1 } }],
    ['credentials', { url, credentials: 'always' }],
    ['cursors', { url, cursors: {} }],
    ['cursors', { url, cursors: [{ sessionId: 's1' }] }],
    ['cursors', { url, cursors: [{ sessionId: 's1', lastSeq: -1 }] }],
    ['outbox', { url, outbox: 1_000 }],
    ['outbox.maxMessages', { url, outbox: { maxMessages: 0 } }],
    ['outbox.maxMessages', { url, outbox: { maxMessages: 1.5 } }],
    ['outbox.maxBytes', { url, outbox: { maxBytes: '4 MiB' } }],
    ['outbox.maxAge', { url, outbox: { maxAge: 0 } }],
    ['outbox.maxAge', { url, outbox: { maxAge: '5' } }],
    ['outbox.maxAge', { url, outbox: { maxAge: Number.NaN } }],
    ['outbox.overflow', { url, outbox: { overflow: 'drop-newest' } }],
    ['outbox.maxInFlight', { url, outbox: { maxInFlight: 0 } }],
    ['outbox.maxInFlight', { url, outbox: { maxInFlight: -Infinity } }],
    ['outbox.maxSize', { url, outbox: { maxSize: 1 } }],
    ['storage', { url, storage: 'localStorage' }],
    ['heartbeat', { url, heartbeat: null }],
    ['headers', { url, headers: null }],
    ['storage', { url, storage: {} }],
    ['storage', { url, storage: { open: true } }],
    ['storage', { url, storage: persist(() => new Map() as never) }],
    ['storage', { url, storage: persist(() => ({ getItem() {} }) as never) }],
    ['timeouts', { url, timeouts: 5_000 }],
    ['timeouts.send', { url, timeouts: { send: '5s' } }],
    ['timeouts.send', { url, timeouts: { send: Number.NaN } }],
    ['timeouts.resume', { url, timeouts: { resume: 2 ** 31 } }],
    ['timeouts.sned', { url, timeouts: { sned: 5 } }],
    ['backoff.maxAttempts', { url, backoff: { maxAttempts: -1 } }],
    ['backoff.base', { url, backoff: { base: -1 } }],
    ['backoff.toString', { url, backoff: { toString: 1 } }],
    ['heartbeat', { url, heartbeat: 0 }],
    ['dedupe', { url, dedupe: 'no' }],
    ['pageLifecycle', { url, pageLifecycle: true }],
    ['inspect', { url, inspect: {} }],
    ['clock', { url, clock: { now: Date.now } }],
    ['random', { url, random: 0.5 }],
    ['protocol.endpoints', { url, protocol: { endpoints: { a: '../b' } } }],
    ['protocol.endpoints', { url, protocol: { endpoints: { reconnect: 'mine' } } }],
  ]
  for (const [option, options] of culprits) {
    const error = refusal(options)
    expect([option, error]).toEqual([option, expect.any(ConnectionError)])
    expect(error).toMatchObject({ code: 'invalid-option', message: expect.stringMatching(new RegExp(`^${option}:`)) })
  }
})

test('what is undefined is not given', () => {
  expect(refusal({ url, headers: undefined, timeouts: { send: undefined }, backoff: undefined })).toBeUndefined()
})

test('an option that does not fit says what was seen and what was expected, and gives no secret away', () => {
  const messages: [string, unknown][] = [
    ['options: null is not an object', undefined],
    ['url: undefined is not an http(s) URL without @, ? or #', {}],
    ['url: ftp://host/x is not an http(s) URL without @, ? or #', { url: 'ftp://host/x' }],
    ['url: https:…host/x is not an http(s) URL without @, ? or #', { url: 'https://me:secret@host/x' }],
    ['url: https://host/x… is not an http(s) URL without @, ? or #', { url: 'https://host/x?token=secret' }],
    ['timeouts.send: 5s is not ms > 0, < 2^31', { url, timeouts: { send: '5s' } }],
    ['timeouts.send: NaN is not ms > 0, < 2^31', { url, timeouts: { send: Number.NaN } }],
    ['backoff.base: -1 is not ms, < 2^31', { url, backoff: { base: -1 } }],
    ['outbox.maxMessages: 0 is not a whole number > 0 or Infinity', { url, outbox: { maxMessages: 0 } }],
    ['outbox.overflow: drop-newest is not one of reject, drop-oldest', { url, outbox: { overflow: 'drop-newest' } }],
    ['headers: string is not a function or a map of strings', { url, headers: 'Bearer secret' }],
    ['createEventSource: object is not a function', { url, createEventSource: {} }],
    ['clock: object is not an object with now, setTimeout, clearTimeout', { url, clock: { now: Date.now } }],
    ['random: Symbol(Symbol.iterator) is not a function', { url, random: Symbol.iterator }],
  ]
  for (const [message, options] of messages) expect(refusal(options)).toMatchObject({ message })
})

test('C80: a storage that is null, as the platform gives it where there is none, is none', () => {
  for (const none of [null, undefined, persist(null), persist(undefined, { key: 'k' }), persist(() => null)]) {
    const connection = createConnection({ url, storage: none })
    connection.send({ type: 'send' })
    connection.dispose()
  }
})

test('a storage as the first edition took it is refused with the words to write instead', () => {
  const { length: _, key, ...rest } = createStorage()
  const asyncStorage = { ...rest, getAllKeys: async () => [] }
  for (const given of [storage, asyncStorage, { storage }, { storage, key: 'k' }, { storage: null }])
    expect(refusal({ url, storage: given })).toMatchObject({
      code: 'invalid-option',
      message:
        'storage: object is not what persist() returns: write persist(localStorage), with persist from holdline/storage',
    })
})

describe('persist() says which of its arguments does not fit', () => {
  const STORAGE = 'a storage like localStorage, or like AsyncStorage, or null'
  test.each<[string, unknown, unknown?]>([
    [`storage: localStorage is not ${STORAGE}`, 'localStorage'],
    [`storage: object is not ${STORAGE}`, new Map()],
    [`storage: object is not ${STORAGE}`, { getItem() {}, setItem() {}, removeItem() {} }],
    ['persist.key:  is not a string, not empty', storage, { key: '' }],
    ['persist.key: 7 is not a string, not empty', storage, { key: 7 }],
    ['persist.cursors: yes is not a boolean', storage, { cursors: 'yes' }],
    ['persist.locks: object is not an object with request', storage, { locks: {} }],
    ['persist.prefix: there is no such option', storage, { prefix: 'x' }],
    ['persist: null is not an object', storage, null],
  ])('%s', (message, given, options) => {
    expect(() => persist(given as never, options as never)).toThrow(
      expect.objectContaining({ code: 'invalid-option', message }),
    )
  })

  test('and touches nothing: a function is called by createConnection', () => {
    const given = vi.fn(() => storage)
    const kept = persist(given)
    expect(given).not.toHaveBeenCalled()
    expect(refusal({ url, storage: kept })).toBeUndefined()
    expect(given).toHaveBeenCalledTimes(1)
  })
})

test('C80: a relative URL is taken where there is no page: a module that a server renders may make the connection', () => {
  for (const relative of ['/api/chat', 'api/chat', './chat', '', '//host/api/chat'])
    expect(refusal({ url: relative })).toBeUndefined()
})

test('what is at its bound is within it', () => {
  const { POSITIVE_INFINITY: maxMessages } = Number
  const least = { maxMessages: 1, maxBytes: 1, maxAge: 1, maxInFlight: 1, overflow: 'drop-oldest' }
  const most = { maxMessages, maxBytes: maxMessages, maxAge: maxMessages, maxInFlight: maxMessages, overflow: 'reject' }
  for (const outbox of [{}, least, most]) expect(refusal({ url, outbox })).toBeUndefined()
  const locks = { request: async () => {} }
  expect(refusal({ url, storage: persist(storage, { key: 'k', cursors: true, locks }) })).toBeUndefined()
})

test('without a global fetch, the missing option is named', () => {
  const { fetch } = globalThis
  Reflect.deleteProperty(globalThis, 'fetch')
  try {
    expect(refusal({ url })).toMatchObject({ code: 'invalid-option', message: expect.stringMatching(/^fetch:/) })
  } finally {
    globalThis.fetch = fetch
  }
})

test('C81: the global fetch is looked up at each call; one that is given is called as it is', async () => {
  vi.stubGlobal('fetch', () => expect.unreachable('the fetch of the time when the connection was made'))
  const settings = [readOptions({ url }), readOptions({ url, fetch: async () => new Response('given') })]
  vi.stubGlobal('fetch', async () => new Response('mocked'))
  const answers = await Promise.all(settings.map(async ({ fetch }) => (await fetch(url)).text()))
  expect(answers).toEqual(['mocked', 'given'])
})

test('nothing is touched before connect', () => {
  const { fetch } = globalThis
  let calls = 0
  globalThis.fetch = (async () => {
    calls++
    return new Response()
  }) as typeof fetch
  try {
    const connection = createConnection({ url })
    connection.send({ type: 'send' })
    expect(connection.phase).toBe('idle')
    expect(calls).toBe(0)
    connection.dispose()
  } finally {
    globalThis.fetch = fetch
  }
})
