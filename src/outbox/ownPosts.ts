import type { Carrier } from '../adapters/transport'
import type { Settings } from '../connection/options'
import type { ConnectionError } from '../errors'
import type { UpstreamEvent } from '../machine/types'
import type { Gate } from './flight'
import { type Judgement, judge } from './judge'

/** A POST of the library's own about a session. */
export interface OwnPost {
  readonly type: 'watch' | 'unwatch'
  readonly sessionId: string
  /** The rest of the body when its turn comes; nothing if there is no need to post it any more. */
  fields(): object | false | undefined
  /** Called once, unless its stream ends first: the resume on the next one takes its place. */
  settle(end: { readonly receipt: unknown } | { readonly error: ConnectionError }): void
}

export interface OwnPostsHost {
  tellMachine(fact: UpstreamEvent): void
  report(error: ConnectionError): void
  crash(cause: unknown): void
  /** The error to tell, if the endpoint that answered 404 is missing, and not the stream. */
  missing(endpoint: string, error: ConnectionError): ConnectionError | undefined
  taken(endpoint: string, gate: Gate): void
}

/**
 * POSTs about sessions, in a lane of their own: one at a time, each kind in order, and no longer
 * than their stream lives.
 */
export class OwnPosts {
  readonly #settings: Settings
  readonly #carrier: Carrier
  readonly #host: OwnPostsHost
  /** By their sessions. */
  readonly #watches = new Map<string, OwnPost>()
  readonly #unwatches = new Map<string, OwnPost>()
  /** Null while the gate is closed. */
  #gate: Gate | null = null
  /** The stream that those which wait are about. */
  #stream: string | null = null
  /** The one that is prepared, or under way. */
  #current: AbortController | null = null

  constructor(settings: Settings, carrier: Carrier, host: OwnPostsHost) {
    this.#settings = settings
    this.#carrier = carrier
    this.#host = host
  }

  /** For that stream only. Of a kind and a session one waits at most, the newest. */
  post(post: OwnPost, stream: string) {
    this.#follow(stream)
    this.#enter(post)
    queueMicrotask(() => this.#pump())
  }

  #enter(post: OwnPost) {
    const queue = post.type === 'watch' ? this.#watches : this.#unwatches
    queue.set(post.sessionId, post)
  }

  start(gate: Gate) {
    this.#follow(gate.connectionId)
    this.#gate = gate
    this.#pump()
  }

  #follow(stream: string | null) {
    if (stream !== this.#stream) this.abort()
    this.#stream = stream
  }

  hold() {
    this.#gate = null
  }

  /** The end of the stream, and of all that was to be posted about it. */
  abort() {
    this.#watches.clear()
    this.#unwatches.clear()
    this.#current?.abort()
    this.#current = null
  }

  /** The app waits for what it watches, and not for what it has left. */
  #pump() {
    for (const queue of [this.#watches, this.#unwatches])
      for (const [sessionId, post] of queue) {
        if (!this.#gate || this.#current) return
        queue.delete(sessionId)
        const fields = post.fields()
        if (fields) this.#send(post, fields, this.#gate).catch(this.#host.crash)
      }
  }

  async #send(post: OwnPost, fields: object, gate: Gate) {
    const abort = new AbortController()
    this.#current = abort
    const outcome = await this.#carrier
      .post(post.type, JSON.stringify({ type: post.type, ...fields }), abort, {
        timeout: this.#settings.timeouts.send,
        // A broken answer counts as none: a resume finds out the state of the session.
        receipt: gate.features.includes('receipts') ? 'required' : 'ifAnnounced',
        // While the headers were waited for the gate may have closed: it does not leave, but waits
        // again.
        onStart: () => {
          if (this.#gate === gate || this.#current !== abort) return
          abort.abort()
          this.#current = null
          this.#enter(post)
          this.#pump()
        },
      })
      .catch((error: ConnectionError) => error)
    if (this.#current !== abort) return
    this.#current = null
    const judgement = judge({ outcome, features: gate.features, isInDoubt: false })
    if (judgement.ruling === 'settle' && judgement.ending.status === 'accepted') {
      this.#host.taken(post.type, gate)
      post.settle({ receipt: judgement.ending.receipt })
    } else this.#fail(post, judgement)
    this.#pump()
  }

  #fail(post: OwnPost, judgement: Judgement) {
    let { error } = judgement.ruling === 'settle' ? (judgement.ending as { error: ConnectionError }) : judgement
    if (judgement.ruling === 'line') {
      const missing = this.#host.missing(post.type, error)
      if (!missing) return this.#host.tellMachine({ type: judgement.fact, error })
      error = missing
    }
    this.#host.report(error)
    post.settle({ error })
  }
}
