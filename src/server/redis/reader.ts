import { isObject, isText, parseJson } from '../../protocol'
import type { LogEntry } from '../sessionLog'
import type { Health } from './health'
import type { Keys } from './keys'
import type { RedisLink } from './redisLink'
import { seqOf } from './scripts'

export interface ReaderOptions {
  readonly link: RedisLink
  readonly keys: Keys
  readonly health: Health
  /** How long the numbering of a session outlives its last use, ms; 0: for ever. */
  readonly keep: number
  onError(error: Error): void
}

export interface Page {
  /** `''` for a session that has had no event yet. */
  readonly epoch: string
  readonly head: number
  readonly entries: readonly LogEntry[]
}

/** Reads sessions. That one of them, or Redis, cannot be read is told here. */
export function createReader({ link, keys, health, keep, onError }: ReaderOptions) {
  /** An event that somebody has tampered with keeps its place, or its readers would never get beyond it. */
  function toEntry(sessionId: string, seq: number, epoch: string, json: string): LogEntry {
    const event = parseJson(json)
    if (isObject(event) && isText(event.type)) return { sessionId, seq, epoch, event: { ...event, type: event.type } }
    onError(new Error(`redisLog: ${keys.log(sessionId)} holds no event under 0-${seq}`))
    return { sessionId, seq, epoch, event: { type: 'unreadable' } }
  }

  async function ask(sessionId: string, after: number, limit: number) {
    const given = [await link.server(), keep, after, limit]
    return link.commands.holdlineRead(keys.meta(sessionId), keys.log(sessionId), ...given)
  }

  return {
    toEntry,

    /** `undefined`: that session cannot be read, though others can. Rejects with `Refusal` 503 if none can. */
    async read(sessionId: string, after: number, limit: number): Promise<Page | undefined> {
      const answer = await ask(sessionId, after, limit).catch((error: unknown) => {
        if (!health.cannotRead(sessionId, error)) throw health.fails(error)
      })
      if (!answer) return undefined
      const [epoch, head, raw, refused] = answer
      health.hasRead(sessionId)
      if (refused) health.refusesWrites(refused)
      else if (refused === '') health.writes()
      return { epoch, head, entries: raw.map(([id, [, json = '']]) => toEntry(sessionId, seqOf(id), epoch, json)) }
    },
  }
}
