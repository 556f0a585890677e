import { pageLifecycle } from '../../../src/adapters/pageLifecycle'
import type { Delivery, Verdict } from '../../../src/connection/messages'
import type { Clock } from '../../../src/environment'
import type { JsonObject } from '../../../src/protocol'
import { createSharedConnection, type SharedConnection } from '../../../src/tabs'
import { createNetwork, type TestPost, type TestStream } from '../../../src/testing/harness/network'
import { createPage } from '../../../src/testing/harness/page'
import type { Invariant } from '../../../src/testing/oracle/oracle'
import type { ModelBrowser } from './modelBrowser'

/** What is told apart of a tab. */
export interface TabSettings {
  /** Whose cookies its requests carry. Default: `me`. */
  readonly user?: string
  /** Its version of what is said on the channel. Default: the one that is. */
  readonly build?: number
  readonly disconnects?: 'tab' | 'all'
}

export interface Sent {
  readonly delivery: Delivery
  readonly verdicts: Verdict[]
}

/** `hung`: its code does not run, and nobody told it. */
export type Rest = 'awake' | 'frozen' | 'hung' | 'cached' | 'gone'

/** An actor of XState, as far as it is looked at. */
export interface Inside {
  getSnapshot(): {
    readonly value: unknown
    readonly context: Readonly<Record<string, unknown>>
    readonly children: Readonly<Record<string, { getSnapshot(): { readonly value?: unknown } } | undefined>>
  }
}

/** One tab with the real code of `holdline/tabs`, and what its app saw. */
export class ModelTab {
  readonly connection: SharedConnection
  readonly page = createPage()
  readonly streams: TestStream[] = []
  readonly posts: TestPost[] = []
  readonly sent: Sent[] = []
  readonly errors: string[] = []
  readonly clock
  /** The machine of the tab. */
  machine: Inside | undefined
  rest: Rest = 'awake'
  /** The last event of each session that the app has had. */
  readonly had = new Map<string, number>()
  /** So many of the next messages of other tabs do not arrive. */
  misses = 0
  isOpen = false
  /** Timers that were due while it slept. */
  readonly #due = new Set<unknown>()
  readonly #browser: ModelBrowser

  constructor(
    browser: ModelBrowser,
    readonly name: string,
    readonly settings: TabSettings,
  ) {
    this.#browser = browser
    this.clock = browser.timeline.createClock()
    const clock: Clock = {
      now: this.clock.now,
      setTimeout: (callback, ms) => {
        const timer = this.clock.setTimeout(() => this.#fire(timer, callback), ms)
        return timer
      },
      clearTimeout: (timer) => {
        this.#due.delete(timer)
        this.clock.clearTimeout(timer)
      },
    }
    const { build, disconnects } = settings
    const locks = browser.locks.of(this)
    const skewed = (given: string) => (build ? given.replace(/^holdline:tabs:\d+/, `holdline:tabs:${build}`) : given)
    this.connection = createSharedConnection(
      {
        ...this.#createNetwork(),
        url: 'https://chat.test/api',
        clock,
        random: () => 0.5,
        pageLifecycle: pageLifecycle(clock, this.page),
        inspect: ({ type, actorRef }) => {
          if (type === '@xstate.actor' && Object(actorRef).logic?.id === 'tabs') this.machine = actorRef as never
        },
      },
      {
        name: 'chat',
        disconnects,
        environment: {
          locks: { request: (name, ...more) => locks.request(skewed(name), ...more) },
          openChannel: (name) => browser.openChannel(this, skewed(name)),
          scope: this.page,
        },
      },
    )
    this.#listen()
  }

  get user() {
    return this.settings.user ?? 'me'
  }

  get role() {
    return this.connection.tabs.role
  }

  get isVisible() {
    return this.page.document?.visibilityState === 'visible'
  }

  get isAwake() {
    return this.rest === 'awake'
  }

  get isGone() {
    return this.rest === 'gone'
  }

  /** Its real streams: those that it has not closed. */
  get open(): readonly TestStream[] {
    return this.streams.filter(({ isClosed }) => !isClosed)
  }

  get unanswered(): readonly TestPost[] {
    return this.posts.filter(({ isAborted, isAnswered }) => !isAborted && !isAnswered)
  }

  send() {
    const prompt = `${this.name}${this.sent.length}`
    const delivery = this.connection.send({ type: 'send', sessionId: 's1', prompt })
    const sent: Sent = { delivery, verdicts: [] }
    this.sent.push(sent)
    void delivery.settled.then((verdict) => sent.verdicts.push(verdict))
  }

  watch(sessionId: string) {
    this.had.set(sessionId, 0)
    this.connection.watch(sessionId, { after: 0 })
  }

  leave(sessionId: string) {
    this.had.delete(sessionId)
    this.connection.unwatch(sessionId)
  }

  /** Its code does not run any more. */
  sleep(rest: Exclude<Rest, 'awake' | 'gone'>) {
    if (rest === 'frozen') {
      // [spec] Page Lifecycle: only a page that is hidden is frozen.
      if (this.isVisible) this.page.hides()
      this.page.freezes()
    }
    if (rest === 'cached') this.page.leaves()
    this.rest = rest
  }

  /** The browser tells it first, and then all that has waited arrives. */
  wake() {
    const { rest, page } = this
    this.rest = 'awake'
    if (rest === 'cached') page.returns()
    if (rest === 'frozen') page.thaws()
  }

  close() {
    this.page.leaves()
    this.crash()
  }

  crash() {
    this.rest = 'gone'
    this.page.unloads()
    this.#browser.forget(this)
  }

  /** News of a lock. */
  task(run: () => void) {
    if (!this.isGone) this.#browser.pipes.put(`${this.name} lock`, 'news', run)
  }

  #fire(timer: unknown, callback: () => void) {
    if (this.isAwake) return callback()
    if (this.isGone) return
    this.#due.add(timer)
    this.#browser.pipes.put(`${this.name} timers`, 'timer', () => this.#due.delete(timer) && callback())
  }

  #report(invariant: Invariant, message: string) {
    if (!this.isGone) this.#browser.report(invariant, `${this.name}: ${message}`)
  }

  #listen() {
    const { connection, had } = this
    connection.on('message', (message) => this.#hear(message as JsonObject))
    connection.on('session', ({ sessionId, status, to }) => {
      if (status === 'reset' && had.has(sessionId)) had.set(sessionId, to)
    })
    const turn = (isOpen: boolean) => {
      if (this.isOpen === isOpen) this.#report('I7', `${isOpen ? 'opened' : 'closed'} twice`)
      this.isOpen = isOpen
    }
    connection.on('opened', () => turn(true))
    connection.on('closed', () => turn(false))
    connection.on('error', ({ error }) => this.errors.push(error.code))
    connection.on('stopped', ({ error }) => this.errors.push(error.code))
  }

  #hear({ sessionId, seq, user }: JsonObject) {
    const id = String(sessionId)
    const last = this.had.get(id)
    if (last === undefined) return this.#report('I10', `event ${seq} of ${id}, which it does not watch`)
    if (seq !== last + 1) this.#report('I6', `event ${seq} of ${id} came after ${last}`)
    if (user !== this.user) this.#report('app', `an event from the stream of another user`)
    this.had.set(id, Number(seq))
  }

  #createNetwork() {
    const browser = this.#browser
    return createNetwork({
      now: browser.timeline.now,
      isOver: () => this.isGone,
      onStream: (stream) => {
        this.streams.push(stream)
        browser.takeStream(this, stream)
      },
      onPost: (post) => {
        this.posts.push(post)
        browser.takePost(this, post)
      },
    })
  }
}
