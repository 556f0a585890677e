import { isObject, parseControl } from '../protocol'
import type { AnyMessages, IsUntyped, Messages, Published } from '../protocol/define/types'
import type { Clock } from './clock'
import type { Contract } from './contract'
import type { LogEntry, Once, SessionEvent, SessionLog } from './log/sessionLog'
import type { Metric } from './metrics'
import { isSessionId, SESSION_ID_RULE } from './request/cursors'
import { isTooDeep, MAX_DEPTH } from './request/json'

export type Publish<Wire extends Messages = AnyMessages> =
  IsUntyped<Wire> extends true
    ? <E extends { readonly type: string }>(sessionId: string, event: E) => Promise<LogEntry>
    : (sessionId: string, event: Published<Wire>) => Promise<LogEntry>

export interface PublisherOptions {
  readonly log: SessionLog
  readonly contract: Contract
  /** The size of an event as JSON. */
  readonly maxBytes: number
  readonly clock: Clock
  onMetric(metric: Metric): void
  onError(error: unknown): void
}

export type Publisher = ReturnType<typeof createPublisher>

export function createPublisher({ log, contract, maxBytes, clock, onMetric, onError }: PublisherOptions) {
  function publish(sessionId: string, event: object, once?: Once): Promise<LogEntry> {
    const entry = append(sessionId, event, once)
    // Most callers do not wait for it, and an unhandled rejection ends the process.
    entry.catch(onError)
    return entry
  }

  async function append(sessionId: string, event: object, once: Once | undefined): Promise<LogEntry> {
    if (!isSessionId(sessionId)) throw new TypeError(`publish: the session id ${SESSION_ID_RULE}`)
    const { copy, json } = copyOf(event, maxBytes)
    contract.event(sessionId, copy)
    const start = clock.now()
    const entry = await log.append(sessionId, copy, once, json)
    onMetric({ name: 'appends', value: 1 })
    onMetric({ name: 'append.duration', value: Math.max(0, clock.now() - start) })
    return entry
  }

  return {
    publish: ((sessionId, event) => publish(sessionId, event)) as Publish,

    /** For the events of one run of a command, told apart by their order. */
    publishOnce(identity: string | undefined, fingerprint: string): Publish {
      const counts = new Map<string, number>()
      return (sessionId, event) => {
        const count = (counts.get(sessionId) ?? 0) + 1
        counts.set(sessionId, count)
        return publish(
          sessionId,
          event,
          identity === undefined ? undefined : { id: `${identity}#${count}`, fingerprint },
        )
      }
    },
  }
}

/** The event as JSON, and a copy that the app cannot change later. */
export function copyOf(event: object, maxBytes: number): { readonly copy: SessionEvent; readonly json: string } {
  const json = toJson(event) ?? 'null'
  // A character takes three bytes at most.
  const bytes = json.length > maxBytes / 3 ? new TextEncoder().encode(json).byteLength : 0
  if (bytes > maxBytes) {
    throw new TypeError(
      `publish: an event must not be larger than 'limits.eventBytes', ${maxBytes}; this one has ${bytes}`,
    )
  }
  if (isTooDeep(json)) throw tooDeep()
  const copy: unknown = JSON.parse(json)
  if (!isObject(copy) || typeof copy.type !== 'string') {
    throw new TypeError("publish: an event must be a JSON object with a string 'type'")
  }
  if (copy.type === 'welcome' || parseControl(copy))
    throw new TypeError(`publish: the type '${copy.type}' is the protocol's`)
  return { copy: { ...copy, type: copy.type }, json }
}

function toJson(event: object): string | undefined {
  try {
    return JSON.stringify(event)
  } catch (error) {
    throw error instanceof RangeError ? tooDeep() : error
  }
}

const tooDeep = () => new TypeError(`publish: an event must not be nested more than ${MAX_DEPTH} deep`)
