import type { Clock } from '../../environment'
import { type Cursor, FEATURES, type Feature, isCursor, type JsonObject } from '../../protocol'
import { type AppliedCommand, type Behaviour, BehaviourChain, type TestServer } from './behaviourChain'
import { isAsk, type TestPost, type TestStream } from './network'
import { list, TestCommands } from './testCommands'

export interface TestServerOptions {
  /** Default: all of them. */
  readonly features?: readonly Feature[]
  /** The distance of its pings, ms. Default: none are announced, and none come. */
  readonly heartbeat?: number
}

interface Line {
  readonly stream: TestStream
  readonly attached: Set<string>
  /** Of its last resume. */
  resumeId?: unknown
}

/** The server of the harness: EventSource and POST on one side, behaviours in front of it. */
export class FakeServer implements TestServer {
  readonly clock: Clock
  readonly features: readonly Feature[]
  readonly commands: readonly AppliedCommand[]
  readonly #heartbeat: number | undefined
  readonly #behaviours: BehaviourChain
  readonly #commands: TestCommands
  readonly #logs = new Map<string, JsonObject[]>()
  #lines: Line[] = []
  #epoch = 1
  #lastConnection = 0

  constructor({ features = FEATURES, heartbeat }: TestServerOptions, behaviours: readonly Behaviour[], clock: Clock) {
    this.clock = clock
    this.features = features
    this.#heartbeat = heartbeat
    this.#behaviours = new BehaviourChain(this, behaviours)
    this.#commands = new TestCommands(features)
    this.commands = this.#commands.applied
  }

  /**
   * An EventSource answers in another task; here in a microtask, after its listeners are there.
   */
  onStream(stream: TestStream) {
    queueMicrotask(() => this.#behaviours.pass('stream', stream, (taken) => this.#welcome(taken)))
  }

  onPost(post: TestPost) {
    this.#behaviours.pass('post', post, (taken) => this.#take(taken))
  }

  readonly publish = (sessionId: string, event: JsonObject) => {
    const log = this.#logs.get(sessionId) ?? []
    this.#logs.set(sessionId, log)
    const numbered = { ...event, sessionId, seq: log.length + 1, epoch: String(this.#epoch) }
    log.push(numbered)
    for (const { stream, attached } of this.#liveLines()) if (attached.has(sessionId)) this.#deliver(numbered, stream)
  }

  readonly sends = (frame: object) => {
    for (const { stream } of this.#liveLines()) stream.sends(frame)
  }

  readonly restarts = () => {
    this.#epoch++
    this.#logs.clear()
    this.#commands.forgetAnswers()
    for (const { stream } of this.#liveLines()) stream.fails()
  }

  readonly behaves = (...behaviours: readonly Behaviour[]) => this.#behaviours.prepend(behaviours)

  /** What belongs to a stream that the client has left is of the past. */
  #liveLines(): readonly Line[] {
    this.#lines = this.#lines.filter(({ stream }) => !stream.isClosed)
    return this.#lines
  }

  #welcome(stream: TestStream) {
    const heartbeat = this.#heartbeat
    this.#lines.push({ stream, attached: new Set() })
    stream.opens()
    stream.welcomes({ connectionId: `c${++this.#lastConnection}`, features: this.features, heartbeat })
    if (heartbeat) this.#keepAlive(stream, heartbeat)
  }

  #keepAlive(stream: TestStream, every: number) {
    this.clock.setTimeout(() => {
      if (stream.isClosed) return
      stream.sends({ type: 'ping' })
      this.#keepAlive(stream, every)
    }, every)
  }

  #deliver(event: JsonObject, stream: TestStream) {
    if (!stream.isClosed) this.#behaviours.passEvent(event, stream, () => stream.sends(event))
  }

  #take(post: TestPost) {
    const { endpoint, body, key } = post
    // It has nothing against a stream.
    if (isAsk(post)) return post.answers(200)
    const line = this.#liveLines().find(({ stream }) => stream.connectionId === post.connectionId)
    if (!line) return post.answers(404, { error: 'unknown-stream' })
    if (endpoint === 'reconnect') return post.answers(200, { ok: true, sessions: this.#resume(line, body) })
    if (endpoint === 'watch' && isCursor(body))
      return post.answers(200, { ok: true, sessions: [this.#attach(line, body)] })
    if (endpoint === 'unwatch') line.attached.delete(String(body.sessionId))
    else if (endpoint === 'probe') line.stream.sends({ type: 'probe', nonce: body.nonce })
    else if (endpoint === 'batch')
      return post.answers(200, { results: list(body.messages).map(this.#commands.applyInBatch) })
    else if (endpoint === 'suspend') this.#suspend(line, body)
    else return post.answers(...this.#commands.apply(key, endpoint, body))
    post.answers(200, { ok: true })
  }

  #resume(line: Line, { resumeId, sessions: asked }: JsonObject): readonly JsonObject[] {
    line.resumeId = resumeId
    const sessions = list(asked)
      .filter(isCursor)
      .map((cursor) => this.#attach(line, cursor))
    if (this.features.includes('replay-marker')) line.stream.sends({ type: 'reconnected', resumeId, sessions })
    return sessions
  }

  #attach(line: Line, cursor: Cursor): JsonObject {
    const { sessionId, lastSeq } = cursor
    const log = this.#logs.get(sessionId) ?? []
    line.attached.add(sessionId)
    const isLost = lastSeq > log.length || (cursor.epoch !== undefined && cursor.epoch !== String(this.#epoch))
    const { length } = log
    for (const event of log.slice(isLost ? length : lastSeq)) this.#deliver(event, line.stream)
    const verdict = isLost ? { status: 'reset', from: 0 } : { status: 'resumed', from: lastSeq }
    return { sessionId, ...verdict, epoch: String(this.#epoch), to: length }
  }

  /** One that is older than the last resume is over. */
  #suspend({ attached, resumeId = null }: Line, body: JsonObject) {
    if (!this.features.includes('suspend-keeps') && body.resumeId === resumeId) attached.clear()
  }
}
