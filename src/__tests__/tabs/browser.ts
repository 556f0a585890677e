import { fetchStreamTransport, pageLifecycle } from 'holdline/adapters'
import {
  type ChatServerOptions,
  type CommandCall,
  createChatServer,
  memoryLog,
  type Principal,
  type SessionLog,
} from 'holdline/server'
import { createSharedConnection, type SharedConnection, type SharedOptions } from 'holdline/tabs'
import { FakeLocks } from '../../../tools/shared/fakeLocks'
import type { Connection, ConnectionOptions } from '../../index'
import { type FakeClock, fakeClock } from '../../testing/harness/fakeClock'

// A browser in one process: tabs with a clock, a page, a fetch, a channel and locks of their own,
// in front of the real server half. A tab can be closed, crash, freeze and thaw.

const URL_OF_CHAT = 'https://chat.test/api'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const settle = async () => {
  for (let turns = 0; turns < 4; turns++) await turn()
}

/** `deliver`, `lose`, or how late it comes, ms. */
export type Fate = 'deliver' | 'lose' | number
type Said = { readonly type: string; readonly tab: string } & Readonly<Record<string, unknown>>

class FakeDocument {
  visibilityState = 'visible'
  readonly #listeners = new Map<string, Set<(event: Event) => void>>()
  addEventListener = (type: string, listener: (event: Event) => void) => {
    this.#listeners.set(type, (this.#listeners.get(type) ?? new Set()).add(listener))
  }
  removeEventListener = (type: string, listener: (event: Event) => void) => {
    this.#listeners.get(type)?.delete(listener)
  }
  fire(type: string, more: object = {}) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener({ type, ...more } as Event)
  }
  get size() {
    return [...this.#listeners.values()].reduce((sum, { size }) => sum + size, 0)
  }
}

export type TabOptions = Partial<ConnectionOptions> &
  Partial<Pick<SharedOptions, 'name' | 'disconnects' | 'mode'>> & {
    /** Whose cookies, or token, its requests carry. */
    readonly user?: string
    readonly visible?: boolean
    /** With the page's own lifecycle, not only that of the tabs. */
    readonly lifecycle?: boolean
  }

/** One tab, and what its app saw. */
export class FakeTab {
  readonly name: string
  readonly connection: SharedConnection
  readonly document = new FakeDocument()
  readonly window = new FakeDocument()
  readonly log: string[] = []
  readonly errors: string[] = []
  readonly received: Record<string, unknown>[] = []
  user: string
  readonly #browser: FakeBrowser
  #state: 'live' | 'frozen' | 'gone' = 'live'
  #tasks: (() => void)[] = []
  readonly #cuts = new Set<() => void>()
  readonly channels = new Set<object>()
  readonly timers = new Set<unknown>()

  constructor(browser: FakeBrowser, name: string, options: TabOptions) {
    const { user = 'me', visible = true, lifecycle = false, disconnects, mode, name: line = 'chat', ...own } = options
    this.name = name
    this.user = user
    this.#browser = browser
    this.document.visibilityState = visible ? 'visible' : 'hidden'
    const scope = Object.assign(this.window, { document: this.document })
    const { now } = browser.clock
    const clock = {
      now,
      setTimeout: (callback: () => void, ms: number) => {
        const timer = browser.clock.setTimeout(() => {
          this.timers.delete(timer)
          this.task(callback)
        }, ms)
        this.timers.add(timer)
        return timer
      },
      clearTimeout: (timer: unknown) => {
        this.timers.delete(timer)
        browser.clock.clearTimeout(timer)
      },
    }
    this.connection = createSharedConnection(
      {
        url: URL_OF_CHAT,
        transport: fetchStreamTransport,
        fetch: this.#fetch as typeof fetch,
        clock,
        random: () => browser.random(),
        pageLifecycle: lifecycle ? pageLifecycle(clock, scope) : false,
        ...own,
      },
      {
        name: line,
        disconnects,
        mode,
        environment: { locks: browser.locks.of(this), openChannel: (name) => browser.openChannel(this, name), scope },
      },
    )
    const { connection } = this
    connection.on('opened', () => this.log.push('opened'))
    connection.on('closed', ({ reason }) => this.log.push(`closed ${reason}`))
    connection.on('stopped', ({ error }) => this.log.push(`stopped ${error.code}`))
    connection.on('session', ({ sessionId, status, from, to }) => this.log.push(`${sessionId} ${status} ${from}-${to}`))
    connection.on('error', ({ error }) => this.errors.push(`${error.code}: ${error.message}`))
    connection.on('message', (message) => this.received.push(message))
  }

  get role() {
    return this.connection.tabs.role
  }

  get isLive() {
    return this.#state === 'live'
  }

  get isGone() {
    return this.#state === 'gone'
  }

  seqs(sessionId: string) {
    return this.received.filter((message) => message.sessionId === sessionId).map(({ seq }) => seq)
  }

  /** Runs as a task of this tab: not while it is frozen. */
  task(run: () => void) {
    if (this.#state === 'live') run()
    else if (this.#state === 'frozen') this.#tasks.push(run)
  }

  hide() {
    this.document.visibilityState = 'hidden'
    this.document.fire('visibilitychange')
  }

  show() {
    this.document.visibilityState = 'visible'
    this.document.fire('visibilitychange')
  }

  /** `suddenly`: without the event. */
  freeze(how: 'told' | 'suddenly' = 'told') {
    if (how === 'told') this.document.fire('freeze')
    this.#state = 'frozen'
  }

  thaw(how: 'told' | 'suddenly' = 'told') {
    this.#state = 'live'
    const tasks = this.#tasks
    this.#tasks = []
    for (const task of tasks) task()
    if (how === 'told') this.document.fire('resume')
  }

  /** The user closes it. */
  close() {
    this.window.fire('pagehide')
    this.crash()
  }

  crash() {
    this.#state = 'gone'
    for (const cut of this.#cuts) cut()
    for (const timer of this.timers) this.#browser.clock.clearTimeout(timer)
    this.channels.clear()
    this.#browser.forget(this)
  }

  /** Its streams and requests are cut, as by a network that fails. */
  cut() {
    for (const cut of this.#cuts) cut()
  }

  readonly #fetch = async (url: string, init: RequestInit = {}): Promise<Response> => {
    const browser = this.#browser
    if (this.isGone) return new Promise(() => {})
    if (browser.isOffline) throw new TypeError('fetch failed')
    const headers = new Headers(init.headers)
    headers.set('Authorization', this.user)
    const isStream = url.endsWith('/events')
    browser.requests.push(`${this.name} ${url.slice(url.lastIndexOf('/') + 1)}`)
    if (!isStream) browser.posted(this, url, init)
    if (browser.latency) await new Promise<void>((resolve) => void browser.clock.setTimeout(resolve, browser.latency))
    const response = await browser.server.fetch(new Request(url, { ...init, headers }))
    await this.#awake()
    if (this.isGone) return new Promise(() => {})
    return isStream && response.body ? this.#pump(response, response.body, init.signal) : response
  }

  #pump(response: Response, body: ReadableStream<Uint8Array>, signal?: AbortSignal | null): Response {
    const reader = body.getReader()
    const streams = this.#browser.streams
    const stream = { tab: this }
    streams.add(stream)
    const end = () => {
      streams.delete(stream)
      this.#cuts.delete(cut)
    }
    let fail = (_: unknown) => {}
    const cut = () => {
      end()
      void reader.cancel().catch(() => {})
      if (this.#state === 'live') fail(new TypeError('cut'))
    }
    this.#cuts.add(cut)
    const abort = () => {
      end()
      void reader.cancel().catch(() => {})
    }
    if (signal?.aborted) {
      abort()
      throw signal.reason
    }
    signal?.addEventListener('abort', abort)
    const pumped = new ReadableStream<Uint8Array>(
      {
        start(controller) {
          fail = (error) => controller.error(error)
        },
        pull: async (controller) => {
          const { done, value } = await reader.read()
          await this.#awake()
          if (this.isGone || !streams.has(stream)) return
          if (done) {
            end()
            controller.close()
          } else controller.enqueue(value)
        },
        cancel: () => {
          end()
          return reader.cancel()
        },
      },
      { highWaterMark: 0 },
    )
    return new Response(pumped, { status: response.status, headers: response.headers })
  }

  #awake() {
    return new Promise<void>((resolve) => {
      if (this.#state === 'gone') resolve()
      else this.task(resolve)
    })
  }
}

export class FakeBrowser {
  readonly clock: FakeClock = fakeClock()
  readonly locks = new FakeLocks()
  readonly log: SessionLog
  readonly server
  readonly commands: CommandCall[] = []
  /** The streams that are open at the server. */
  readonly streams = new Set<{ readonly tab: FakeTab }>()
  readonly requests: string[] = []
  /** All that went over the channel. */
  readonly said: Said[] = []
  isOffline = false
  /** How long a request is on its way to the server, ms. */
  latency = 0
  random = () => 0.5
  /** What becomes of a message on its way to a tab. */
  fate: (message: Said, to: FakeTab) => Fate = () => 'deliver'
  /** Of each POST. */
  posted: (tab: FakeTab, url: string, init: RequestInit) => void = () => {}
  #tabs: FakeTab[] = []
  readonly #channels = new Map<object, { readonly name: string; readonly tab: FakeTab; hear(data: unknown): void }>()
  #made = 0

  constructor(options: Partial<ChatServerOptions<Principal>> = {}, log?: SessionLog) {
    this.log = log ?? memoryLog({ clock: this.clock })
    this.server = createChatServer({
      log: this.log,
      clock: this.clock,
      random: () => 0.5,
      authenticate: (request) => ({ id: request.headers.get('Authorization') ?? 'nobody' }),
      authorize: ({ id }, sessionId) => !sessionId.startsWith('private') || sessionId === `private-${id}`,
      onCommand: (call) => {
        this.commands.push(call)
        if (call.type === 'send' && call.sessionId)
          void this.server.publish(call.sessionId, { type: 'echo', prompt: call.message.prompt })
        return { took: call.message.prompt ?? null }
      },
      onError: () => {},
      allowedHosts: 'any',
      ...options,
      limits: { bodyRate: 2 ** 30, ...options.limits },
    })
  }

  open(options: TabOptions = {}): FakeTab {
    const tab = new FakeTab(this, `tab${++this.#made}`, options)
    this.#tabs.push(tab)
    return tab
  }

  get live() {
    return this.#tabs.filter(({ isLive }) => isLive)
  }

  forget(tab: FakeTab) {
    this.#tabs = this.#tabs.filter((other) => other !== tab)
    for (const [channel, { tab: owner }] of this.#channels) if (owner === tab) this.#channels.delete(channel)
    this.locks.drop(tab)
  }

  get openChannels() {
    return this.#channels.size
  }

  get channelNames() {
    return [...this.#channels.values()].map(({ name }) => name)
  }

  openChannel(tab: FakeTab, name: string) {
    const listeners: ((event: { readonly data: unknown }) => void)[] = []
    const channel = {
      postMessage: (message: unknown) => this.#post(channel, name, structuredClone(message) as Said),
      addEventListener: (_: 'message', listener: (event: { readonly data: unknown }) => void) => {
        listeners.push(listener)
      },
      close: () => {
        this.#channels.delete(channel)
      },
    }
    const hear = (data: unknown) => {
      for (const listener of listeners) listener({ data })
    }
    this.#channels.set(channel, { name, tab, hear })
    return channel
  }

  #post(from: object, name: string, message: Said) {
    if (!this.#channels.has(from)) return
    this.said.push(message)
    for (const [channel, end] of this.#channels) {
      if (channel === from || end.name !== name) continue
      const fate = this.fate(message, end.tab)
      const deliver = () => end.tab.task(() => this.#channels.has(channel) && end.hear(structuredClone(message)))
      if (fate === 'deliver') setImmediate(deliver)
      else if (fate !== 'lose') this.clock.setTimeout(deliver, fate)
    }
  }

  publish(sessionId: string, text: string) {
    return this.server.publish(sessionId, { type: 'token', text })
  }

  /** Time passes, and everything that follows from it happens. */
  passes(ms: number) {
    return this.clock.passes(ms, settle)
  }

  /** Waits for the condition, and lets so much time pass at most. Returns how much did, ms. */
  async reaches(isMet: () => boolean, what: string, within = 60_000, step = 25): Promise<number> {
    for (let passed = 0; passed <= within; passed += step) {
      for (let turns = 0; turns < 30; turns++) {
        if (isMet()) return passed
        await turn()
      }
      await this.passes(step)
    }
    const tabs = this.#tabs.map(({ name, role, connection }) => `${name} ${role} ${connection.phase}`)
    throw new Error(`never happened: ${what} (${tabs.join(', ')}; ${this.streams.size} streams)`)
  }

  /** All of them read open, one of them leads, and there is one stream. */
  share(...tabs: readonly FakeTab[]) {
    return this.reaches(
      () =>
        tabs.every(({ connection }) => connection.isOpen) &&
        tabs.filter(({ role }) => role === 'leading').length === 1 &&
        tabs.every(({ role }) => role === 'leading' || role === 'following') &&
        this.streams.size === 1,
      'one line for all',
    )
  }

  async end() {
    for (const tab of this.#tabs) tab.connection.dispose()
    await this.server.close()
  }
}

export const connectAll = (...tabs: readonly FakeTab[]) => {
  for (const { connection } of tabs) connection.connect()
}

export const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
export type { Connection }
