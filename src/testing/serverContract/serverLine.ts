import { createParser } from 'eventsource-parser'
import { MAX_INBOUND_BYTES } from '../../adapters/fetchUpstream'
import { completeLines } from '../../adapters/streamResponse'
import {
  CONNECTION_ID_HEADER,
  type Feature,
  IDEMPOTENCY_KEY_HEADER,
  isObject,
  isSeq,
  type JsonObject,
  LANE_HEADER,
  parseJson,
  parseVerdicts,
} from '../../protocol'
import type { Answer } from './answer'
import { quoted } from './json'
import type { Wire } from './wire'

/** One frame of a stream. */
export interface Frame {
  /** Undefined if it has none. */
  readonly name: string | undefined
  readonly data: string
  /** The JSON object in it. */
  readonly json: JsonObject | undefined
  /** When its end came, ms by `performance.now`. Frames that came in one piece have the same. */
  readonly at: number
}

export interface PostOptions {
  readonly key?: string
  readonly lane?: string
  /** Of the stream that it names. Default: the line's own; null: none. */
  readonly connectionId?: string | null
  readonly headers?: Readonly<Record<string, string>>
  /** In the place of the line's own. */
  readonly credentials?: Readonly<Record<string, string>>
}

/** Where a case stands in a session. */
export interface Place {
  readonly sessionId: string
  readonly lastSeq: number
  readonly epoch?: string
}

/** One stream, read to its end, and the POSTs that name it. Nothing of it is repeated. */
export class ServerLine {
  readonly response: Response
  readonly frames: Frame[] = []
  /** Comments are no signs of life to an EventSource. */
  comments = 0
  /** All that came, in frames or not. */
  bytes = 0
  ending: 'open' | 'ended' | 'cut' = 'open'
  /** ms by `performance.now`. */
  endedAt = Number.POSITIVE_INFINITY
  /** When the last bytes came, ms by `performance.now`. */
  lastAt = performance.now()
  /** The longest time without a byte that it has outlived, ms. */
  longestSilence = 0
  readonly #wire: Wire
  readonly #headers: Readonly<Record<string, string>>
  readonly #abort: AbortController
  readonly #listeners = new Set<() => void>()

  constructor(
    wire: Wire,
    headers: Readonly<Record<string, string>>,
    { response, abort }: { response: Response; abort: AbortController },
  ) {
    this.response = response
    this.#wire = wire
    this.#headers = headers
    this.#abort = abort
    void this.#read()
  }

  get welcome(): JsonObject {
    return this.frames[0]?.json ?? {}
  }

  get connectionId(): string {
    return String(this.welcome.connectionId)
  }

  has(feature: Feature): boolean {
    const { features } = this.welcome
    return Array.isArray(features) && features.includes(feature)
  }

  /** The events of a session, as they have come. */
  eventsOf(sessionId: string): readonly JsonObject[] {
    return this.frames.flatMap(({ json }) => (json?.sessionId === sessionId && isSeq(json.seq) ? [json] : []))
  }

  /** The control frames of a type. */
  controls(type: string): readonly JsonObject[] {
    return this.frames.flatMap(({ json }) => (json?.type === type && json.seq === undefined ? [json] : []))
  }

  /** Waits until there is something; a Fault says that `wanted` has not come. */
  until<T>(
    find: () => T | false | undefined,
    wanted: string | (() => string),
    timeout = this.#wire.timeout,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        clearTimeout(timer)
        this.#listeners.delete(look)
      }
      const fail = (when: string) => {
        stop()
        const what = typeof wanted === 'string' ? wanted : wanted()
        reject(this.#wire.fault(`${what} did not come ${when}; the stream had ${this.#heard()}`))
      }
      const look = () => {
        const found = find()
        if (found !== undefined && found !== false) {
          stop()
          resolve(found)
        } else if (this.ending !== 'open') fail(`before the stream ${this.ending === 'cut' ? 'was cut' : 'ended'}`)
      }
      const timer = setTimeout(() => fail(`within ${timeout} ms`), timeout)
      this.#listeners.add(look)
      look()
    })
  }

  post(endpoint: string, body: unknown, options: PostOptions = {}): Promise<Answer> {
    const { key, lane, connectionId = this.connectionId, credentials = this.#headers, headers } = options
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    return this.#wire.post(`POST ${endpoint} ${quoted(body)}`, endpoint, {
      headers: {
        'Content-Type': 'application/json',
        ...credentials,
        ...(connectionId !== null && { [CONNECTION_ID_HEADER]: connectionId }),
        ...(key !== undefined && { [IDEMPOTENCY_KEY_HEADER]: key }),
        ...(lane !== undefined && { [LANE_HEADER]: encodeURIComponent(lane) }),
        ...headers,
      },
      body: text,
    })
  }

  /** A POST whose body does not come to its end, before the line is closed. */
  stall(endpoint: string) {
    const body = new ReadableStream({ start: (sink) => sink.enqueue(new TextEncoder().encode('{"type":')) })
    const headers = { 'Content-Type': 'application/json', ...this.#headers, [CONNECTION_ID_HEADER]: this.connectionId }
    this.#wire.begin(endpoint, { headers, body, signal: this.#abort.signal })
  }

  close() {
    this.#abort.abort()
  }

  async #read() {
    const parser = createParser({
      onEvent: ({ event, data }) => {
        const json = parseJson(data)
        this.frames.push({ name: event, data, json: isObject(json) ? json : undefined, at: this.lastAt })
      },
      onComment: () => {
        this.comments += 1
      },
    })
    const decoder = new TextDecoder()
    const complete = completeLines(MAX_INBOUND_BYTES)
    try {
      const reader = this.response.body?.getReader()
      for (;;) {
        const part = await reader?.read()
        if (!part || part.done) break
        this.#hear(part.value.length)
        parser.feed(decoder.decode(complete(part.value), { stream: true }))
        this.#tell()
      }
      this.ending = 'ended'
    } catch {
      this.ending = 'cut'
    }
    this.endedAt = performance.now()
    this.#tell()
  }

  #hear(bytes: number) {
    this.bytes += bytes
    const now = performance.now()
    this.longestSilence = Math.max(this.longestSilence, now - this.lastAt)
    this.lastAt = now
  }

  #tell() {
    for (const look of [...this.#listeners]) look()
  }

  /** The last frames, for a sentence. */
  #heard(): string {
    const frames = this.frames.slice(-8).map(({ name, data, json }) => {
      if (json && isSeq(json.seq)) return `${json.sessionId}:${json.seq}`
      const refused = parseVerdicts(json).filter(({ status }) => status === 'gone' || status === 'forbidden')
      const words = refused.map(({ sessionId, status }) => ` (${sessionId}: ${status})`)
      return `${name ?? quoted(json?.type ?? data)}${words.join('')}`
    })
    const more = this.frames.length > frames.length ? `… ${this.frames.length} frames, at last ` : ''
    const comments = this.comments > 0 ? ` and ${this.comments} comments` : ''
    return frames.length + this.comments > 0 ? `${more}${frames.join(', ')}${comments}` : 'nothing'
  }
}
