import type { StreamHandlers } from '../adapters/eventSource'
import { canRequest } from '../adapters/fetchUpstream'
import type { Carrier } from '../adapters/transport'
import type { Clock } from '../environment'
import { ConnectionError } from '../errors'
import {
  type Cursor,
  isCursor,
  isObject,
  isText,
  type JsonObject,
  MAX_SESSIONS_PER_RESUME,
  parseJson,
  parseWelcome,
} from '../protocol'
import { fieldsOf, type Of, type Said, type TabMessage } from './messages'
import { Resumes } from './resumes'
import { fitnessOf, type Source } from './source'
import type { Standing } from './types'

/** How often the state of the line is told, ms. */
const BEAT = 2_000
/** So long after it was heard a tab is named, ms. */
const NAMED_FOR = 10_000

export interface SharedLineSetup {
  readonly tab: string
  readonly term: number
  readonly clock: Clock
  /** Of a resume, ms. */
  readonly timeout: number
  /** The real one. */
  readonly carrier: Carrier
  say(message: Said): void
  /** A frame for this tab. */
  hear(data: string, frame: unknown): void
  /** The server lacks what sharing takes. */
  unfit(): void
  /** A follower finds no proof that the stream lives. */
  doubted(): void
}

/** `down`: none is open, or it has no welcome yet. */
type State =
  | { readonly name: 'down'; readonly error: ConnectionError | null }
  | { readonly name: 'up'; readonly welcome: string; readonly connectionId: string; readonly resumes: Resumes }

/**
 * The stream that all tabs share, in the tab that leads. This tab's own connection opens and closes
 * it; every frame is broadcast.
 */
export class SharedLine implements Source {
  standing: Standing
  readonly #setup: SharedLineSetup
  #state: State = { name: 'down', error: null }
  #n = 0
  #close: (() => void) | undefined
  #timer: unknown
  /** When each of the other tabs was heard last, ms since the epoch. */
  readonly #heardAt = new Map<string, number>()
  /** The tabs that have said that they go to sleep. */
  readonly #asleep = new Set<string>()
  /** What is under way about the stream, and ends with it. */
  readonly #posts = new Set<AbortController>()

  constructor(setup: SharedLineSetup, standing: Standing) {
    this.#setup = setup
    this.standing = standing
    this.#beat()
  }

  end() {
    this.#setup.clock.clearTimeout(this.#timer)
    this.close()
  }

  /** Tells the state of the line. */
  announce() {
    const { term, say, clock } = this.#setup
    const { standing } = this
    for (const [tab, at] of this.#heardAt) if (clock.now() - at >= NAMED_FOR) this.#heardAt.delete(tab)
    const tabs = [...this.#heardAt.keys()]
    const state = this.#state
    const welcome = state.name === 'up' ? state.welcome : null
    const error = state.name === 'down' && state.error ? fieldsOf(state.error) : null
    say({ type: 'line', term, standing, n: this.#n, welcome, error, tabs })
  }

  /** What another tab says. */
  hear(message: TabMessage) {
    const { doubted } = this.#setup
    const state = this.#state
    if (message.type === 'bye') this.#heardAt.delete(message.tab)
    else this.#heardAt.set(message.tab, this.#setup.clock.now())
    if (message.type === 'hello') this.announce()
    else if (message.type === 'ask') void this.#answer(message)
    else if (state.name === 'down') return
    else if (message.type === 'attend') state.resumes.attend(message.tab, message.sessions)
    else if (message.type === 'bye') this.#forget(message.tab, state.resumes)
    else if (message.type === 'doubt' && message.line === state.connectionId) doubted()
  }

  open(handlers: StreamHandlers) {
    this.close()
    const { carrier, tab, hear } = this.#setup
    this.#close = carrier.open({
      open: handlers.open,
      sign: handlers.sign,
      welcome: (data) => {
        this.#welcome(data)
        handlers.welcome(data)
      },
      message: (data, json = parseJson(data)) => {
        const state = this.#state
        const frame = isObject(json) ? json : {}
        if (state.name === 'up' && state.resumes.hear(frame)) return handlers.sign()
        // The answer to a probe says whose it is, and that the tab is awake.
        if (frame.type === 'probe' && isText(frame.nonce)) this.#asleep.delete(frame.nonce.split('.')[0] as string)
        this.#relay(data, null)
        hear(data, json)
      },
      error: (error) => {
        this.#fall(error)
        handlers.error(error)
      },
    })
    // A frame may have come at once, and another tab is told of it before this one is here.
    this.#asleep.delete(tab)
  }

  close() {
    this.#close?.()
    this.#close = undefined
    if (this.#state.name === 'up')
      this.#fall(new ConnectionError('stream-failed', 'the tab that leads has closed the stream'))
  }

  async ask(endpoint: string, body: string): Promise<JsonObject> {
    return this.#take(this.#setup.tab, endpoint, Object(parseJson(body)))
  }

  attend(sessionIds: readonly string[]) {
    if (this.#state.name === 'up') this.#state.resumes.attend(this.#setup.tab, sessionIds)
  }

  #forget(tab: string, resumes: Resumes) {
    this.#asleep.delete(tab)
    for (const sessionId of resumes.sessionsOf(tab)) resumes.leave(tab, sessionId).catch(() => {})
  }

  #beat() {
    this.announce()
    this.#timer = this.#setup.clock.setTimeout(() => this.#beat(), BEAT)
  }

  #welcome(data: string) {
    const { clock, timeout, unfit } = this.#setup
    const welcome = parseWelcome(data)
    if (!welcome) return
    const { connectionId, features } = welcome
    if (this.#state.name === 'up') this.#fall(new ConnectionError('stream-failed', 'the stream was welcomed anew'))
    this.#state = {
      name: 'up',
      welcome: data,
      connectionId,
      resumes: new Resumes({ clock, timeout, post: this.#post }),
    }
    this.announce()
    if (fitnessOf(features) === 'unfit') unfit()
  }

  #fall(error: ConnectionError) {
    const state = this.#state
    this.#state = { name: 'down', error }
    this.announce()
    if (state.name === 'up') state.resumes.end(new ConnectionError('network', 'the shared line was lost'))
    for (const abort of this.#posts) abort.abort()
    this.#asleep.clear()
  }

  readonly #post = (endpoint: string, body: string) => {
    const { carrier, timeout } = this.#setup
    const abort = new AbortController()
    this.#posts.add(abort)
    return carrier.post(endpoint, body, abort, { timeout }).finally(() => this.#posts.delete(abort))
  }

  #relay(data: string, to: string | null) {
    const { term, say } = this.#setup
    this.#n++
    say({ type: 'frame', term, n: this.#n, data, to })
  }

  /** One for that tab alone. */
  #tellMarker(tab: string, marker: JsonObject) {
    const data = JSON.stringify(marker)
    if (tab === this.#setup.tab) this.#setup.hear(data, marker)
    else this.#relay(data, tab)
  }

  async #answer({ tab: to, id, endpoint, body }: Of<'ask'>) {
    const { say, doubted } = this.#setup
    try {
      const json = await this.#take(to, endpoint, Object(parseJson(body)))
      say({ type: 'answer', to, id, json, error: null })
    } catch (cause) {
      // It is for this tab's own connection to find out what is wrong with its stream and its
      // credentials; the other one comes back.
      doubted()
      const { retryAfter, message } = cause as ConnectionError
      const error = new ConnectionError('network', `POST ${endpoint}, by the tab that leads: ${message}`, {
        retryAfter,
      })
      say({ type: 'answer', to, id, json: null, error: fieldsOf(error) })
    }
  }

  async #take(tab: string, endpoint: string, message: JsonObject): Promise<JsonObject> {
    const state = this.#state
    if (state.name === 'down') throw new ConnectionError('network', 'the shared line is down')
    const { resumes } = state
    if (endpoint === 'suspend') return this.#suspend(tab, state)
    this.#asleep.delete(tab)
    const { sessionId, resumeId } = message
    if (endpoint === 'unwatch' && isText(sessionId)) {
      await resumes.leave(tab, sessionId)
      return { ok: true }
    }
    const cursors = endpoint === 'watch' ? [message] : endpoint === 'reconnect' ? message.sessions : undefined
    if (!Array.isArray(cursors)) throw new ConnectionError('bad-message', `a tab asks for what is no POST: ${endpoint}`)
    const sessions = await resumes.resume(tab, cursors.filter(isCursor).slice(0, MAX_SESSIONS_PER_RESUME).map(bare))
    if (endpoint === 'reconnect') this.#tellMarker(tab, { type: 'reconnected', resumeId, sessions })
    return { ok: true, sessions }
  }

  /** A browser is away when all of its tabs are. */
  async #suspend(tab: string, { connectionId, resumes }: Extract<State, { name: 'up' }>): Promise<JsonObject> {
    this.#asleep.add(tab)
    if (!resumes.tabs.every((one) => this.#asleep.has(one))) return { ok: true }
    const body = { type: 'session_suspend', connectionId, resumeId: resumes.last, sessions: resumes.cursors }
    resumes.letGo()
    // It outlives the stream, which a page that goes away closes at once; no timer waits for it.
    const keepalive = canRequest('keepalive')
    await this.#setup.carrier.post('suspend', JSON.stringify(body), new AbortController(), { keepalive })
    return { ok: true }
  }
}

/** No more than a cursor. */
const bare = ({ sessionId, lastSeq, epoch }: Cursor): Cursor =>
  epoch === undefined ? { sessionId, lastSeq } : { sessionId, lastSeq, epoch }
