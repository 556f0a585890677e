import { afterEach, beforeEach, expect, vi } from 'vitest'
import { type ChatConnectionOptions, createChatConnection } from '../../compat'
import type { Feature, JsonObject } from '../../protocol'
import type { Behaviour } from '../../testing'
import { createNetwork, type TestPost, type TestStream } from '../../testing/harness/network'
import { FakeServer } from '../../testing/harness/testServer'
import { settles } from '../../testing/harness/virtualClock'
import type { createStorage } from './storage'

const CLOCK = {
  now: () => Date.now(),
  setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms),
  clearTimeout: (timer: unknown) => clearTimeout(timer as never),
}
export const OPEN = { type: '_open' }
export const CLOSE = { type: '_close' }
export const FOREGROUND = { type: '_foreground' }
export const token = (seq: number) => ({ type: 'token', sessionId: 's1', seq })
export const prompt = (text: string) => ({ type: 'send', sessionId: 's1', prompt: text })

/** What was warned of in this test. */
export const warnings: unknown[] = []

/**
 * Time that passes only when a test says so, dice that always show a half, and a console that is
 * read.
 */
export function setTheScene() {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    warnings.length = 0
    vi.spyOn(console, 'warn').mockImplementation((_, what) => void warnings.push(what))
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.unstubAllGlobals()
    vi.restoreAllMocks()
  })
}

interface World extends Partial<ChatConnectionOptions> {
  /** What the server does; by itself it does everything right. */
  readonly server?: readonly Behaviour[]
  /** Default: none, as with the servers that the old client speaks to. */
  readonly features?: readonly Feature[]
}

/**
 * A drop-in, a server of old, and a page. Requests go on after they were aborted: late answers
 * arrive.
 */
export function createCompatWorld({ server: behaviours = [], features = [], ...options }: World = {}) {
  const streams: TestStream[] = []
  const posts: TestPost[] = []
  const calls: [url: string, init: RequestInit][] = []
  const told: JsonObject[] = []
  const server = new FakeServer({ features }, behaviours, CLOCK)
  const network = createNetwork({
    now: CLOCK.now,
    ignoresAbort: true,
    onStream(stream) {
      streams.push(stream)
      server.onStream(stream)
    },
    onPost(post) {
      posts.push(post)
      server.onPost(post)
    },
  })
  const chat = createChatConnection({
    baseUrl: 'http://test',
    fetch(url, init = {}) {
      calls.push([url, init])
      return network.fetch(url, init)
    },
    createEventSource: network.createEventSource,
    ...options,
  })
  chat.onMessage((message) => told.push(message))

  return {
    chat,
    server,
    streams,
    posts,
    calls,
    told,
    get live() {
      return streams.filter((stream) => !stream.isClosed)
    },
    get stream() {
      return streams.at(-1) as TestStream
    },
    postsTo: (endpoint: string) => posts.filter((post) => post.endpoint === endpoint),
    post: (endpoint: string) => posts.filter((post) => post.endpoint === endpoint).at(-1) as TestPost,
    async opens() {
      chat.connect()
      await settles()
      expect(chat.isConnected()).toBe(true)
    },
    /** Of a server that does nothing by itself. */
    async welcomes(connectionId = `c${streams.length}`) {
      streams.at(-1)?.opens()
      streams.at(-1)?.welcomes({ connectionId })
      await settles()
    },
    async passes(ms: number) {
      await vi.advanceTimersByTimeAsync(ms)
      await settles()
    },
  }
}

/** The same storage, as React Native has it. */
export const answeringLater = (items: ReturnType<typeof createStorage>) => ({
  getAllKeys: async () => Array.from({ length: items.length }, (_, index) => items.key(index) as string),
  getItem: async (key: string) => items.getItem(key),
  setItem: async (key: string, value: string) => items.setItem(key, value),
  removeItem: async (key: string) => items.removeItem(key),
})
