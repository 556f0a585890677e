import { isObject, isText, parseJson } from '../../protocol'
import type { LogEntry, SessionHead } from '../log/sessionLog'
import { StoredEntry, textOf } from '../log/storedEntry'
import type { Health } from './health'
import type { Keys } from './keys'
import type { RedisLink } from './link'
import { seqOf } from './scripts'
import type { News } from './sessionFeed'

export interface ReaderOptions {
  readonly link: RedisLink
  readonly keys: Keys
  readonly health: Health
  /** No event is longer, bytes. */
  readonly maxSessionBytes: number
  /** How long the numbering of a session outlives its last use, ms; 0: for ever. */
  readonly keep: number
  onError(error: Error): void
}

/** Bytes. Events beyond are read by those who write them, each time. */
export const MAX_KEPT = 4_096

/** Reads sessions. That one of them, or Redis, cannot be read is told here. */
export class Reader {
  readonly #options: ReaderOptions
  readonly #asking = new Map<string, Promise<readonly LogEntry[]>>()

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  /**
   * An event wakes all streams of a session at once: those that ask for the same in one turn share
   * one answer of Redis.
   */
  read(sessionId: string, after: number, limit: number): Promise<readonly LogEntry[]> {
    const question = `${after} ${limit} ${sessionId}`
    const asked = this.#asking.get(question)
    if (asked) return asked
    const reading = this.#readPage(sessionId, after, limit)
    this.#asking.set(question, reading)
    // No longer than that: an event that is told of later may be missing in the answer.
    queueMicrotask(() => this.#asking.delete(question))
    return reading
  }

  async head(sessionId: string): Promise<SessionHead> {
    const page = await this.#ask(sessionId, 0, -1, -1)
    if (!page) return { epoch: '', head: 0, first: 1, isUnreadable: true }
    const { epoch, head, entries } = page
    return { epoch, head, first: entries[0]?.seq ?? head + 1 }
  }

  async news(sessionId: string, after: number, limit: number): Promise<News | undefined> {
    const page = await this.#ask(sessionId, after, limit, MAX_KEPT)
    const toNews = ({ seq, json }: { readonly seq: number; readonly json: string | undefined }) => ({
      seq,
      entry: json === undefined ? undefined : this.#toEntry(sessionId, seq, page?.epoch ?? '', json),
    })
    return page && { ...page, entries: page.entries.map(toNews) }
  }

  async #readPage(sessionId: string, after: number, limit: number): Promise<readonly LogEntry[]> {
    const page = await this.#ask(sessionId, after, limit, this.#options.maxSessionBytes)
    return page?.entries.map(({ seq, json = '' }) => this.#toEntry(sessionId, seq, page.epoch, json)) ?? []
  }

  /**
   * `undefined`: that session cannot be read, though others can. Rejects with `Refusal` 503 if none
   * can.
   */
  async #ask(sessionId: string, after: number, limit: number, longest: number) {
    const { link, keys, health, keep } = this.#options
    try {
      const given = [await link.server(), keep, after, limit, longest]
      const [epoch, head, entries, refused] = await link.commands.holdlineRead(
        keys.meta(sessionId),
        keys.log(sessionId),
        ...given,
      )
      health.hasRead(sessionId)
      if (refused) health.refusesWrites(refused)
      else if (refused === '') health.writes()
      return { epoch, head, entries: entries.map(([id, fields]) => ({ seq: seqOf(id), json: fields?.[1] })) }
    } catch (error) {
      if (!health.cannotRead(sessionId, error)) throw health.fails(error)
      return undefined
    }
  }

  /**
   * An event that somebody has tampered with keeps its place, or its readers would never get beyond
   * it.
   */
  #toEntry(sessionId: string, seq: number, epoch: string, json: string): LogEntry {
    const event = parseJson(json)
    if (isObject(event) && isText(event.type)) {
      const text = textOf({ ...event, type: event.type })
      return new StoredEntry(sessionId, seq, epoch, text)
    }
    const { keys, onError } = this.#options
    onError(new Error(`redisLog: ${keys.log(sessionId)} holds no event under 0-${seq}`))
    return new StoredEntry(sessionId, seq, epoch, '{"type":"unreadable"}')
  }
}
