import type { LogEntry, SessionEvent } from './sessionLog'

/** The fields that the server itself writes around an event. */
const ENVELOPE = ['sessionId', 'seq', 'epoch', 'prevSeq'] as const

/**
 * The event as JSON, without what would stand in the place of the envelope. `json` is all of it, if
 * it is at hand.
 */
export function textOf(event: SessionEvent, json?: string): string {
  const isBare = !ENVELOPE.some((field) => Object.hasOwn(event, field))
  return isBare ? (json ?? JSON.stringify(event)) : JSON.stringify({ ...event, ...NO_ENVELOPE })
}

const NO_ENVELOPE = Object.fromEntries(ENVELOPE.map((field) => [field, undefined]))

/**
 * An entry as a log keeps it: as text, because a parsed event takes up to twenty times as much
 * memory, and because streams write text. The event is parsed each time it is asked for.
 */
export class StoredEntry implements LogEntry {
  constructor(
    readonly sessionId: string,
    readonly seq: number,
    readonly epoch: string,
    readonly json: string,
  ) {}

  get event(): SessionEvent {
    return JSON.parse(this.json)
  }

  /** As an entry that holds its event. */
  toJSON(): LogEntry {
    const { sessionId, seq, epoch, event } = this
    return { sessionId, seq, epoch, event }
  }
}
