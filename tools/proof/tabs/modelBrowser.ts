import { FEATURES, type Feature } from '../../../src/protocol'
import { Timeline } from '../../../src/testing/harness/fakeClock'
import type { TestPost, TestStream } from '../../../src/testing/harness/network'
import { seededRandom } from '../../../src/testing/harness/random'
import { FakeServer } from '../../../src/testing/harness/testServer'
import type { Invariant } from '../../../src/testing/oracle/oracle'
import { FakeLocks } from '../../shared/fakeLocks'
import { ModelTab, type TabSettings } from './modelTab'
import { Pipes } from './pipes'

export interface BrowserOptions {
  /** The tabs that there can be, by name. */
  readonly tabs: Readonly<Record<string, TabSettings>>
  /** Default: all. */
  readonly features?: readonly Feature[]
  /** ms. Default: none. */
  readonly heartbeat?: number
}

export interface Fault {
  readonly invariant: Invariant
  readonly message: string
}

/** What the server knows of a stream, whether or not it has arrived. */
export interface ServedStream {
  readonly tab: ModelTab
  readonly stream: TestStream
  isCut: boolean
  connectionId: string | undefined
  /** The last POST about each session. */
  readonly asked: Map<string, string>
}

const START = Date.UTC(2026, 0, 1)

/**
 * A browser: tabs that share a channel and locks, in front of a model of a server. Whatever goes to
 * a tab goes through a pipe, which can be held.
 */
export class ModelBrowser {
  readonly options: BrowserOptions
  readonly timeline = new Timeline(START)
  readonly locks = new FakeLocks()
  readonly server: FakeServer
  /** By name; a tab that is gone makes room for another one. */
  readonly tabs = new Map<string, ModelTab>()
  readonly pipes = new Pipes((pipe) => this.tabs.get(nameIn(pipe))?.isAwake ?? true)
  readonly served: ServedStream[] = []
  readonly faults: Fault[] = []
  readonly heads = new Map<string, number>()
  /** Of locks, and of channels. */
  readonly names = new Set<string>()
  isOffline = false
  restarts = 0
  /** When a message was lost last: what others know may be old for a while. */
  lostAt = Number.NEGATIVE_INFINITY
  readonly #channels = new Map<object, { readonly name: string; readonly tab: ModelTab; hear(data: unknown): void }>()

  constructor(options: BrowserOptions) {
    this.options = options
    nameAlike()
    const { features = FEATURES, heartbeat } = options
    this.server = new FakeServer({ features, ...(heartbeat && { heartbeat }) }, [], this.timeline.createClock())
  }

  /** Those that are there, asleep or not. */
  get present(): readonly ModelTab[] {
    return [...this.tabs.values()].filter(({ isGone }) => !isGone)
  }

  get awake(): readonly ModelTab[] {
    return this.present.filter(({ isAwake }) => isAwake)
  }

  get openChannels() {
    return this.#channels.size
  }

  channelsOf(tab: ModelTab) {
    return [...this.#channels.values()].filter((end) => end.tab === tab).length
  }

  report(invariant: Invariant, message: string) {
    if (!this.faults.some((fault) => fault.invariant === invariant && fault.message === message))
      this.faults.push({ invariant, message })
  }

  open(name: string) {
    const tab = new ModelTab(this, name, this.options.tabs[name] ?? {})
    this.tabs.set(name, tab)
    tab.watch('s1')
    tab.connection.connect()
  }

  forget(tab: ModelTab) {
    for (const [channel, end] of this.#channels) if (end.tab === tab) this.#channels.delete(channel)
    this.locks.drop(tab)
    this.pipes.lose(`${tab.name} `)
    for (const pipe of this.pipes.held) if (nameIn(pipe) === tab.name) this.pipes.held.delete(pipe)
  }

  /** Everything that follows without time passing. */
  async settle() {
    if (!(await this.pipes.settle())) this.report('app', 'the tabs answer each other without end')
  }

  passes(ms: number) {
    return this.timeline.passes(ms, () => this.settle())
  }

  publish(sessionId: string) {
    this.heads.set(sessionId, (this.heads.get(sessionId) ?? 0) + 1)
    this.server.publish(sessionId, { type: 'token' })
  }

  restart() {
    this.restarts++
    this.heads.clear()
    this.server.restarts()
  }

  openChannel(tab: ModelTab, name: string) {
    this.names.add(name)
    const listeners: ((event: { readonly data: unknown }) => void)[] = []
    const channel = {
      postMessage: (message: unknown) => this.#post(channel, tab, message as { type: string }),
      addEventListener: (_: 'message', listener: (event: { readonly data: unknown }) => void) => {
        listeners.push(listener)
      },
      close: () => void this.#channels.delete(channel),
    }
    this.#channels.set(channel, {
      name,
      tab,
      hear(data) {
        for (const listener of listeners) listener({ data })
      },
    })
    return channel
  }

  #post(from: object, tab: ModelTab, message: { readonly type: string }) {
    const sender = this.#channels.get(from)
    if (!sender) return
    const text = JSON.stringify(message)
    for (const [channel, end] of this.#channels) {
      if (channel === from || end.name !== sender.name) continue
      if (end.tab.misses > 0) {
        end.tab.misses--
        this.lostAt = this.timeline.now()
      } else
        this.pipes.put(`${end.tab.name} from ${tab.name}`, text, () => {
          if (this.#channels.has(channel)) end.hear(JSON.parse(text))
        })
    }
  }

  takeStream(tab: ModelTab, stream: TestStream) {
    const { pipes } = this
    const pipe = `${tab.name} stream`
    const served: ServedStream = { tab, stream, isCut: false, connectionId: undefined, asked: new Map() }
    const put = (text: string, arrive: () => void) => pipes.put(pipe, text, () => stream.isClosed || arrive())
    const own = {
      get isClosed() {
        return stream.isClosed || served.isCut
      },
      get connectionId() {
        return served.connectionId
      },
      opens: () => put('open', stream.opens),
      welcomes: (frame: { readonly connectionId?: string } = {}) => {
        served.connectionId = frame.connectionId
        put('welcome', () => stream.welcomes(frame))
      },
      sends: (frame: object | string) => {
        const tagged = typeof frame === 'object' && 'seq' in frame ? { ...frame, user: tab.user } : frame
        put(JSON.stringify(frame), () => stream.sends(tagged))
      },
      fails: () => {
        served.isCut = true
        put('cut', stream.fails)
      },
    }
    const wired = Object.create(stream, Object.getOwnPropertyDescriptors(own)) as TestStream
    this.served.push(served)
    if (this.isOffline) wired.fails()
    else this.server.onStream(wired)
  }

  takePost(tab: ModelTab, post: TestPost) {
    const put = (text: string, arrive: () => void) => this.pipes.put(`${tab.name} answers`, text, arrive)
    const wired = Object.assign(Object.create(post) as TestPost, {
      answers: (...answer: Parameters<TestPost['answers']>) =>
        put(`${post.endpoint} ${answer[0]} ${JSON.stringify(answer[1])}`, () => post.answers(...answer)),
      fails: () => put(`${post.endpoint} failed`, post.fails),
    })
    const line = this.served.find(({ connectionId }) => connectionId === post.connectionId)
    if (line) note(line.asked, post)
    if (this.isOffline) wired.fails()
    else if (line && line.tab.user !== tab.user) wired.answers(404, { error: 'unknown-stream' })
    else this.server.onPost(wired)
  }
}

/** `a from b` is a pipe of `a`. */
export const nameIn = (pipe: string) => pipe.split(' ')[0] as string

/** What the server was asked for on a stream, by session. */
function note(asked: Map<string, string>, { endpoint, body }: TestPost) {
  const sessions = Array.isArray(body.sessions) ? body.sessions : [body]
  for (const { sessionId, lastSeq } of sessions) if (sessionId) asked.set(String(sessionId), `${endpoint} ${lastSeq}`)
}

/** The same names in each world: whoever replays a path sees the same. */
function nameAlike() {
  const random = seededRandom(1)
  crypto.getRandomValues = (bytes) => {
    if (bytes instanceof Uint8Array) for (let index = 0; index < bytes.length; index++) bytes[index] = random() * 256
    return bytes
  }
}
