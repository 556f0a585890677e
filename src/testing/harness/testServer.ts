import type { Clock } from '../../environment'
import { type Cursor, FEATURES, type Feature, isCursor, type JsonObject } from '../../protocol'
import { isAsk, type TestPost, type TestStream } from './network'

/**
 * What a server does, as a chain: each behaviour deals with what it is about, and leaves the rest
 * to `next`. One that does neither leaves it open; the test can take it from there.
 */
export interface Behaviour {
  /**
   * A stream was asked for. `next` may be given another one to pass on, e.g. one on which nothing
   * arrives.
   */
  stream?(stream: TestStream, next: (stream?: TestStream) => void, server: TestServer): void
  /**
   * Something was posted. `next` may be given another post to pass on, e.g. one whose answer is
   * lost.
   */
  post?(post: TestPost, next: (post?: TestPost) => void, server: TestServer): void
  /** An event is about to be sent. */
  event?(event: JsonObject, stream: TestStream, next: () => void, server: TestServer): void
}

/** A command that the server has applied. */
export interface AppliedCommand {
  /** The message's id, where one was sent. */
  readonly id: string | null
  readonly endpoint: string
  readonly message: JsonObject
}

export interface TestServerOptions {
  /** Default: all of them. */
  readonly features?: readonly Feature[]
  /** The distance of its pings, ms. Default: none are announced, and none come. */
  readonly heartbeat?: number
}

/** A server in the test's hands. By itself it does everything right: see docs/protocol.md. */
export interface TestServer {
  readonly clock: Clock
  readonly features: readonly Feature[]
  /** In the order in which they were applied. */
  readonly commands: readonly AppliedCommand[]
  /**
   * Numbers an event, keeps it for replays and sends it to the streams that are attached to the
   * session.
   */
  publish(sessionId: string, event: JsonObject): void
  /** Sends a frame on every live stream. */
  sends(frame: object): void
  /** Everything is forgotten and every stream is cut. */
  restarts(): void
  /** From now on, before what it did so far. */
  behaves(...behaviours: readonly Behaviour[]): void
}

interface Line {
  readonly stream: TestStream
  readonly attached: Set<string>
  /** Of its last resume. */
  resumeId?: unknown
}

export function createTestServer(
  { features = FEATURES, heartbeat }: TestServerOptions,
  initial: readonly Behaviour[],
  clock: Clock,
) {
  let behaviours = initial
  let epoch = 1
  let lastConnection = 0
  let logs = new Map<string, JsonObject[]>()
  let receipts = new Map<string, readonly [status: number, json: unknown]>()
  let lines: Line[] = []
  const commands: AppliedCommand[] = []

  const chain = <Subject>(kind: 'stream' | 'post', subject: Subject, end: (subject: Subject) => void) => {
    const list = behaviours
    const step = (index: number, current: Subject) => {
      const behaviour = list[index]
      if (!behaviour) {
        end(current)
        return
      }
      const go = (other: Subject = current) => step(index + 1, other)
      const handle = behaviour[kind] as ((subject: Subject, next: typeof go, server: TestServer) => void) | undefined
      if (handle) handle.call(behaviour, current, go, server)
      else go()
    }
    step(0, subject)
  }

  function deliver(event: JsonObject, stream: TestStream) {
    if (stream.isClosed) return
    const step = (rest: readonly Behaviour[]): void => {
      const [behaviour, ...others] = rest
      if (!behaviour) stream.sends(event)
      else if (behaviour.event) behaviour.event(event, stream, () => step(others), server)
      else step(others)
    }
    step(behaviours)
  }

  function keepAlive(stream: TestStream, every: number) {
    clock.setTimeout(() => {
      if (stream.isClosed) return
      stream.sends({ type: 'ping' })
      keepAlive(stream, every)
    }, every)
  }

  /** What belongs to a stream that the client has left is of the past. */
  const liveLines = () => {
    lines = lines.filter(({ stream }) => !stream.isClosed)
    return lines
  }

  function attach(line: Line, cursor: Cursor): JsonObject {
    const { sessionId, lastSeq } = cursor
    const log = logs.get(sessionId) ?? []
    line.attached.add(sessionId)
    const isLost = lastSeq > log.length || (cursor.epoch !== undefined && cursor.epoch !== String(epoch))
    const { length } = log
    for (const event of log.slice(isLost ? length : lastSeq)) deliver(event, line.stream)
    const verdict = isLost ? { status: 'reset', from: 0 } : { status: 'resumed', from: lastSeq }
    return { sessionId, ...verdict, epoch: String(epoch), to: length }
  }

  function take(post: TestPost) {
    const { endpoint, body, key } = post
    // It has nothing against a stream.
    if (isAsk(post)) return post.answers(200)
    const line = liveLines().find(({ stream }) => stream.connectionId === post.connectionId)
    if (!line) return post.answers(404, { error: 'unknown-stream' })
    if (endpoint === 'reconnect') {
      line.resumeId = body.resumeId
      const sessions = list(body.sessions)
        .filter(isCursor)
        .map((cursor) => attach(line, cursor))
      if (features.includes('replay-marker')) {
        line.stream.sends({ type: 'reconnected', resumeId: body.resumeId, sessions })
      }
      return post.answers(200, { ok: true, sessions })
    }
    if (endpoint === 'watch' && isCursor(body)) return post.answers(200, { ok: true, sessions: [attach(line, body)] })
    if (endpoint === 'unwatch') line.attached.delete(String(body.sessionId))
    else if (endpoint === 'probe') line.stream.sends({ type: 'probe', nonce: body.nonce })
    else if (endpoint === 'batch') return post.answers(200, { results: list(body.messages).map(applyInBatch) })
    else if (endpoint === 'suspend') suspend(line, body)
    else return post.answers(...apply(key, endpoint, body))
    post.answers(200, { ok: true })
  }

  /** One that is older than the last resume is over. */
  function suspend({ attached, resumeId = null }: Line, body: JsonObject) {
    if (!features.includes('suspend-keeps') && body.resumeId === resumeId) attached.clear()
  }

  function apply(id: string | null, endpoint: string, message: JsonObject): readonly [status: number, json: unknown] {
    const isKept = id !== null && features.includes('idempotency')
    const known = id !== null && receipts.get(id)
    if (known) return known
    // None of them has begun: what has begun has its answer.
    if (features.includes('cancels') && endpoint === 'stop') {
      for (const other of list(message.cancels)) {
        if (!commands.some(({ id: begun }) => begun === other))
          receipts.set(String(other), [409, { error: 'cancelled' }])
      }
    }
    commands.push({ id, endpoint, message })
    const answer = [200, { ok: true, number: commands.length }] as const
    if (isKept) receipts.set(id, answer)
    return answer
  }

  function applyInBatch(message: unknown): object {
    const { id, endpoint, body } = Object(message)
    const [status, receipt] = apply(String(id), String(endpoint), Object(body))
    return { id, status, receipt }
  }

  const server: TestServer = {
    clock,
    features,
    commands,
    publish(sessionId, event) {
      const log = logs.get(sessionId) ?? []
      logs.set(sessionId, log)
      const numbered = { ...event, sessionId, seq: log.length + 1, epoch: String(epoch) }
      log.push(numbered)
      for (const { stream, attached } of liveLines()) if (attached.has(sessionId)) deliver(numbered, stream)
    },
    sends(frame) {
      for (const { stream } of liveLines()) stream.sends(frame)
    },
    restarts() {
      epoch++
      logs = new Map()
      receipts = new Map()
      for (const { stream } of liveLines()) stream.fails()
    },
    behaves(...more) {
      behaviours = [...more, ...behaviours]
    },
  }

  return {
    server,
    /**
     * An EventSource answers in another task; here in a microtask, after its listeners are there.
     */
    onStream(stream: TestStream) {
      queueMicrotask(() =>
        chain('stream', stream, (taken) => {
          lines.push({ stream: taken, attached: new Set() })
          taken.opens()
          taken.welcomes({ connectionId: `c${++lastConnection}`, features, heartbeat })
          if (heartbeat) keepAlive(taken, heartbeat)
        }),
      )
    },
    onPost: (post: TestPost) => chain('post', post, take),
  }
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
