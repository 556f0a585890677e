import { digest } from '../digest'
import { CommandRejected } from '../errors'
import type { LogEntry, Once, SessionEvent } from '../log/sessionLog'
import { textOf } from '../log/storedEntry'
import type { Health } from './health'
import type { Keys } from './keys'
import type { RedisLink } from './link'

export interface AppenderOptions {
  readonly link: RedisLink
  readonly keys: Keys
  readonly health: Health
  /** How many events a session keeps, and for how long after the last one, ms; 0: for ever. */
  readonly maxEvents: number
  readonly maxAge: number
  /** The most that the texts of a session take, bytes. */
  readonly maxSessionBytes: number
  /** How long the numbering of a session outlives its last use, ms; 0: for ever. */
  readonly keep: number
  /** How long the ids of events are kept, ms. */
  onceAge(): number
  readonly replicas: number
  /** Numbered by Redis, and kept there. */
  onAppended(sessionId: string, epoch: string, seq: number, json: string): void
}

interface Waiting {
  readonly event: SessionEvent
  readonly json: string
  readonly once: Once | undefined
  resolve(entry: LogEntry): void
  reject(error: unknown): void
}

/** Events of one call. More would keep Redis, which does one thing at a time, from others. */
const MAX_CALL_EVENTS = 64
const MAX_CALL_CHARS = 262_144
/** The answer about an event whose id was used for another one. */
const ID_REUSED = -1

/**
 * Appends in the order of the calls. A session has one call to Redis in the air, with whatever came
 * up since the last one: so a repeat after a reconnect can be told from a new one, and a busy
 * session costs a fraction of a call per event.
 */
export class Appender {
  readonly #options: AppenderOptions
  /** The name of this process in Redis. */
  readonly #writer = crypto.randomUUID()
  readonly #queues = new Map<string, Waiting[]>()
  #calls = 0

  constructor(options: AppenderOptions) {
    this.#options = options
  }

  append(sessionId: string, event: SessionEvent, once?: Once, text?: string): Promise<LogEntry> {
    return new Promise((resolve, reject) => {
      const json = textOf(event, text)
      this.#checkSize(json)
      const waiting = { event, json, once, resolve, reject }
      const queue = this.#queues.get(sessionId)
      if (queue) {
        queue.push(waiting)
        return
      }
      const opened = [waiting]
      this.#queues.set(sessionId, opened)
      void this.#drain(sessionId, opened)
    })
  }

  #checkSize(json: string) {
    const { maxSessionBytes } = this.#options
    const bytes = json.length > maxSessionBytes / 3 ? Buffer.byteLength(json) : 0
    if (bytes <= maxSessionBytes) return
    throw new TypeError(`redisLog: this event has ${bytes} bytes, and a session ${maxSessionBytes} ('maxSessionBytes')`)
  }

  async #drain(sessionId: string, queue: Waiting[]) {
    while (queue.length > 0) {
      let chunk: Waiting[] = []
      try {
        // Everything of this turn goes together.
        const server = await this.#options.link.server()
        chunk = takeChunk(queue)
        await this.#appendAll(server, sessionId, chunk)
      } catch (error) {
        // Without a server all of them have waited in vain.
        for (const { reject } of chunk.length > 0 ? chunk : queue.splice(0)) reject(error)
      }
    }
    this.#queues.delete(sessionId)
  }

  async #appendAll(server: string, sessionId: string, chunk: readonly Waiting[]) {
    const { link, keys, health, replicas, onAppended } = this.#options
    const hashes = await Promise.all(chunk.flatMap(({ once }) => (once ? [digest(once.id)] : [])))
    const calling = this.#call(server, sessionId, chunk, hashes)
    const [[epoch, ...seqs], acknowledged] = await Promise.all([
      calling,
      replicas > 0 ? link.acknowledged(replicas, keys.meta(sessionId), calling) : replicas,
    ])
    health.writes()
    if (acknowledged < replicas) {
      throw new Error(`redisLog: ${acknowledged} of ${replicas} replicas have the event, so it may still be lost`)
    }
    for (const [index, { event, json, resolve, reject }] of chunk.entries()) {
      const seq = seqs[index] ?? ID_REUSED
      if (seq === ID_REUSED) reject(new CommandRejected(409, 'id-reused'))
      else if (seq < 0) resolve({ sessionId, seq: -1 - seq, epoch, event, isRepeat: true })
      else {
        onAppended(sessionId, epoch, seq, json)
        resolve({ sessionId, seq, epoch, event })
      }
    }
  }

  #call(server: string, sessionId: string, chunk: readonly Waiting[], hashes: readonly string[]) {
    const { link, keys, keep, maxEvents, maxAge, maxSessionBytes, onceAge } = this.#options
    const onceKeys = hashes.map((hash) => keys.once(sessionId, hash))
    const names = [keys.meta(sessionId), keys.log(sessionId), keys.writer(sessionId, this.#writer), ...onceKeys]
    let used = 0
    this.#calls += 1
    return link.writer.holdlineAppend(
      names.length,
      ...names,
      server,
      keep,
      crypto.randomUUID(),
      maxEvents,
      maxAge,
      keys.channel(sessionId),
      maxSessionBytes,
      onceAge(),
      this.#calls,
      ...chunk.flatMap(({ json, once }) => (once ? [json, ++used, once.fingerprint] : [json, 0, ''])),
    )
  }
}

function takeChunk(queue: Waiting[]): Waiting[] {
  let chars = 0
  const end = queue.findIndex(({ json }, index) => {
    chars += json.length
    return index >= MAX_CALL_EVENTS || (index > 0 && chars > MAX_CALL_CHARS)
  })
  return queue.splice(0, end < 0 ? queue.length : end)
}
