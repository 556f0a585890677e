import type { StreamHandlers } from '../adapters/eventSource'
import type { PostOptions } from '../adapters/fetchUpstream'
import type { Carrier, Transport, TransportSetup } from '../adapters/transport'
import { ConnectionError } from '../errors'
import { HEAD, isCursor, isObject, isSeq, isText, type JsonObject, parseJson, parseVerdicts } from '../protocol'
import { ABOUT_THE_STREAM, type Source, sessionsOf } from './source'

/** The last event of a session that this tab has seen, or been handed. */
interface Position {
  readonly seq: number
  readonly epoch: unknown
}

export interface TabCarrierSetup {
  readonly tab: string
  /** The connection opens a stream, or has closed it. */
  tell(fact: { type: 'stream.wanted' | 'stream.unwanted' }): void
}

/**
 * The way of one tab's connection to the server. Its stream is that of a `Source`; its POSTs are
 * its own, but for those about the stream.
 */
export class TabCarrier implements Carrier {
  readonly real: Carrier
  readonly #setup: TabCarrierSetup
  readonly #clock: TransportSetup['clock']
  #source: Source | 'own' | null = null
  /** Of the stream that the connection has open, or waits for. */
  #handlers: StreamHandlers | null = null
  #closeOwn = () => {}
  /** The stream that a proof is about: the connection does not know its name yet. */
  #candidate: string | null = null
  /** The sessions whose events the connection hears. */
  readonly #attended = new Set<string>()
  /** In all sessions of the stream. */
  readonly #positions = new Map<string, Position>()
  /**
   * By session, while a resume of it is under way: the live events that came before their turn. The
   * replay brings them as well, but not those behind a `reset`.
   */
  readonly #early = new Map<string, (readonly [data: string, json: unknown])[]>()
  /** By the nonce that is waited for. */
  readonly #proofs = new Map<string, () => void>()
  #proved = 0
  /** The app, or the page, has said that it goes away. */
  hasSlept = false

  constructor(transport: Transport, given: TransportSetup, setup: TabCarrierSetup) {
    this.#setup = setup
    this.#clock = given.clock
    const context = () => {
      const { attempt, connectionId } = given.context()
      return { attempt, connectionId: connectionId ?? this.#candidate }
    }
    this.real = transport({ ...given, context })
  }

  open(handlers: StreamHandlers): () => void {
    const isLive = () => this.#handlers === own
    const own: StreamHandlers = {
      open: () => isLive() && handlers.open(),
      welcome: (data) => isLive() && handlers.welcome(data),
      message: (data, json) => isLive() && handlers.message(data, json),
      sign: () => isLive() && handlers.sign(),
      error(error) {
        if (isLive()) handlers.error(error)
      },
    }
    this.#handlers = own
    this.#start()
    this.#setup.tell({ type: 'stream.wanted' })
    return () => {
      if (!isLive()) return
      this.#handlers = null
      this.#stop()
      this.#setup.tell({ type: 'stream.unwanted' })
    }
  }

  post(endpoint: string, body: string, abort: AbortController, options: PostOptions = {}): Promise<unknown> {
    const source = this.#source
    if (source === 'own') return this.real.post(endpoint, body, abort, options)
    if (endpoint === 'probe') return this.real.post(endpoint, this.#signed(body), abort, options)
    if (endpoint === 'suspend') this.hasSlept = true
    if (ABOUT_THE_STREAM.includes(endpoint)) return this.#ask(endpoint, body, abort, options)
    const named = sessionsOf(parseJson(body)).filter((sessionId) => !this.#attended.has(sessionId))
    for (const sessionId of named) this.#attended.add(sessionId)
    if (named.length) source?.attend(named)
    return this.real.post(endpoint, body, abort, options)
  }

  beacon(endpoint: string, body: string): unknown {
    if (this.#source === 'own') return this.real.beacon(endpoint, body)
    this.hasSlept = true
    this.#source?.ask(endpoint, body).catch(() => {})
    return true
  }

  check() {
    this.real.check?.()
  }

  /** From now on the stream is that one's; null: there is none. */
  use(source: Source | 'own' | null) {
    this.#stop()
    this.#source = source
    this.#attended.clear()
    this.#positions.clear()
    this.#early.clear()
    if (this.#handlers) this.#start()
  }

  /** The source is gone, and with it the stream that the connection has of it. */
  drop(error: ConnectionError) {
    const handlers = this.#handlers
    this.#stop()
    this.#source = null
    handlers?.error(error)
  }

  /** The stream of another tab is this connection's as well, from its welcome on. */
  follow(source: Source, welcome: string) {
    this.use(source)
    this.#handlers?.open()
    this.#handlers?.welcome(welcome)
  }

  /** One frame of the shared stream: before it is this connection's, nothing but a proof counts. */
  hear(data: string, json = parseJson(data)) {
    const frame: JsonObject = isObject(json) ? json : {}
    const { type, sessionId, seq, nonce } = frame
    if (type === 'probe' && isText(nonce)) this.#hearProbe(nonce, frame)
    else if (!this.#source) return
    else if (!isText(sessionId) || !isSeq(seq)) this.#handlers?.message(data, json)
    else {
      const early = this.#early.get(sessionId)
      const isEarly = early && !this.#follows(sessionId, isSeq(frame.prevSeq) ? frame.prevSeq : seq - 1, frame.epoch)
      if (isEarly) early.push([data, json])
      if (!isEarly && this.#isNews(sessionId, seq, frame.epoch)) this.#handlers?.message(data, json)
      else this.#handlers?.sign()
    }
  }

  /**
   * Posts a probe under the name of a stream, with this tab's own credentials; calls back when the
   * stream has brought the answer. Rejects as the POST does.
   */
  async prove(connectionId: string, abort: AbortController, onProof: () => void) {
    this.#candidate = connectionId
    const nonce = `j${++this.#proved}`
    this.#proofs.set(nonce, onProof)
    abort.signal.addEventListener('abort', () => this.#proofs.delete(nonce))
    await this.real.post('probe', this.#signed(JSON.stringify({ type: 'probe', nonce })), abort)
  }

  #start() {
    const source = this.#source
    this.#candidate = null
    const handlers = this.#handlers as StreamHandlers
    if (source === 'own') this.#closeOwn = this.real.open(handlers)
    else source?.open(handlers)
  }

  #stop() {
    this.#closeOwn()
    this.#closeOwn = () => {}
    const source = this.#source
    if (source && source !== 'own') source.close()
  }

  /** A nonce is one tab's only, so it carries the name of the tab. */
  #signed(body: string) {
    const { nonce, ...rest }: JsonObject = Object(parseJson(body))
    return JSON.stringify({ ...rest, nonce: `${this.#setup.tab}.${nonce}` })
  }

  #hearProbe(nonce: string, frame: JsonObject) {
    const [tab, own = ''] = nonce.split('.')
    if (tab !== this.#setup.tab) return this.#handlers?.sign()
    const prove = this.#proofs.get(own)
    if (prove) prove()
    else if (this.#source) this.#handlers?.message('', { ...frame, nonce: own })
  }

  #follows(sessionId: string, previous: number, epoch: unknown): boolean {
    const { seq: last, epoch: known } = this.#positions.get(sessionId) as Position
    return previous <= last && (epoch ?? known) === (known ?? epoch)
  }

  /** False: this tab does not attend the session, or has had the event. */
  #isNews(sessionId: string, seq: number, epoch: unknown): boolean {
    const { seq: last, epoch: known } = this.#positions.get(sessionId) ?? { seq: 0, epoch }
    const isOther = epoch != null && known !== undefined && epoch !== known
    if (!isOther && seq <= last) return false
    this.#positions.set(sessionId, { seq, epoch: epoch ?? known })
    return this.#attended.has(sessionId)
  }

  async #ask(endpoint: string, body: string, { signal }: AbortController, { timeout, onStart }: PostOptions) {
    const what = `POST ${endpoint}`
    let timer: unknown
    let placed: readonly string[] = []
    try {
      // As after the headers of a request: whoever posts has its promise by then.
      await undefined
      onStart?.()
      const source = this.#source as Source | null
      if (signal.aborted || !source) throw new Error(source ? 'aborted' : 'no tab holds the line')
      placed = this.#place(endpoint, Object(parseJson(body)))
      const over = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')))
        const late = () => reject(new ConnectionError('timeout', `${what}: no answer within ${timeout} ms`))
        timer = timeout && this.#clock.setTimeout(late, timeout)
      })
      const answer = await Promise.race([source.ask(endpoint, body), over])
      for (const { sessionId, status, to, epoch } of parseVerdicts(answer)) {
        if (status === 'reset') this.#positions.set(sessionId, { seq: to, epoch })
      }
      return answer
    } catch (cause) {
      if (cause instanceof ConnectionError) throw cause
      throw new ConnectionError('network', `${what}: ${cause}`, { cause })
    } finally {
      this.#clock.clearTimeout(timer)
      for (const sessionId of placed) {
        const early = this.#early.get(sessionId) ?? []
        this.#early.delete(sessionId)
        if (!signal.aborted) for (const frame of early) this.hear(...frame)
      }
    }
  }

  /** Where the connection stands in the sessions that it asks for. Returns their ids. */
  #place(endpoint: string, message: JsonObject): readonly string[] {
    if (endpoint === 'suspend') return []
    if (endpoint === 'unwatch') {
      this.#attended.delete(String(message.sessionId))
      return []
    }
    const cursors = (Array.isArray(message.sessions) ? message.sessions : [message]).filter(isCursor)
    return cursors.map(({ sessionId, lastSeq, epoch }) => {
      this.#attended.add(sessionId)
      this.#positions.set(sessionId, { seq: lastSeq === HEAD ? 0 : lastSeq, epoch })
      this.#early.set(sessionId, [])
      return sessionId
    })
  }
}
