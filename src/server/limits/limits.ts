import { checkNames, checkNumber, MAX_TIMER } from '../check'

export interface ServerLimits {
  /**
   * The most memory that this process holds for its clients, bytes: commands and frames that wait,
   * bodies while they arrive, receipts, attached sessions (docs/limits.md says what each one
   * counts). One principal holds an eighth of it at most. Beyond: 429 with `Retry-After`. At least
   * 320 times `bodyBytes`. The log has a bound of its own. Default: 268,435,456 (256 MiB), or that
   * minimum if it is more.
   */
  readonly memory?: number
  /** Size of a POST body, bytes. Beyond: 413. Default: 262,144 (256 KiB). */
  readonly bodyBytes?: number
  /**
   * How long a POST body may take to arrive in full, ms. Beyond: 408, and the client repeats it.
   * Default: 10,000.
   */
  readonly bodyTimeout?: number
  /** Sessions in one `reconnect` or `suspend`. Beyond: 400. Default: 100. */
  readonly sessionsPerResume?: number
  /**
   * Sessions that one stream is attached to. Beyond: `forbidden`; a command is run all the same.
   * Default: 1,000.
   */
  readonly sessionsPerStream?: number
  /**
   * Sessions that the commands of one principal may begin in this process: so many at once, and so
   * many in an hour. Beyond: 429 with `Retry-After`, before the command is run. Default: 1,000.
   */
  readonly newSessions?: number
  /**
   * Live streams of one principal. A new one beyond takes the place of one that does not read, or
   * whose client has not been heard of for two heartbeats, the longest silent first; if there is
   * none: 429. Default: 20.
   */
  readonly streamsPerPrincipal?: number
  /**
   * A client that does not read for this long, while there is something to write, loses its stream;
   * ms. Default: 10,000.
   */
  readonly stall?: number
  /** How long a stream lives before it says goodbye, ± 10 %; ms. Default: 3,600,000 (1 h). */
  readonly streamAge?: number
  /**
   * How often `authorize` is asked whether a stream may still read what is attached to it, ± 10 %,
   * eight streams at a time; ms. Default: 300,000 (5 min).
   */
  readonly reauthorize?: number
  /**
   * Size of an event as JSON, bytes. Beyond, `publish` rejects with a TypeError. Default: 1,048,576
   * (1 MiB).
   */
  readonly eventBytes?: number
  /**
   * How fast the streams of one principal are replayed in this process, bytes per second; one
   * second's worth may come at once. A session that is resumed or watched counts as 8,192. Beyond,
   * they wait, and live events go on. Default: 8,388,608 (8 MiB/s).
   */
  readonly replayRate?: number
  /**
   * How much one principal may post to this process, bytes of bodies per second; an eighth of it
   * may come at once. Beyond, a POST of more than 16,384 bytes waits before its body is read, and
   * one that would wait for more than 2 s is answered 429. At least `bodyBytes`. Default: 4,194,304
   * (4 MiB/s), or that minimum if it is more.
   */
  readonly bodyRate?: number
  /**
   * How long the outcome of a command is remembered for repeats, ms. Those that are older than 15
   * min give way, the oldest first, where something else needs their room. Default: 86,400,000 (24
   * h).
   */
  readonly receiptAge?: number
  /**
   * How many outcomes are remembered; an eighth of them of one principal at most. A command for
   * whose outcome there is no room is answered 429 before it is run. Default: 100,000.
   */
  readonly receipts?: number
}

export const LIMITS = {
  memory: 268_435_456,
  bodyBytes: 262_144,
  bodyTimeout: 10_000,
  sessionsPerResume: 100,
  sessionsPerStream: 1_000,
  newSessions: 1_000,
  streamsPerPrincipal: 20,
  stall: 10_000,
  streamAge: 3_600_000,
  reauthorize: 300_000,
  eventBytes: 1_048_576,
  replayRate: 8_388_608,
  bodyRate: 4_194_304,
  receiptAge: 86_400_000,
  receipts: 100_000,
} satisfies Required<ServerLimits>
/**
 * For each byte of a body: so one principal's share holds the largest message, parsed. Else it
 * would be told to come back for ever.
 */
const MIN_MEMORY = 320
const DURATIONS = ['bodyTimeout', 'stall', 'streamAge', 'reauthorize', 'receiptAge']

/** @throws TypeError naming the limit that is invalid or unknown */
export function resolveLimits(limits: ServerLimits = {}): Required<ServerLimits> {
  checkNames('limits', limits, Object.keys(LIMITS))
  const minMemory = MIN_MEMORY * (limits.bodyBytes ?? LIMITS.bodyBytes)
  const bodyRate = Math.max(LIMITS.bodyRate, limits.bodyBytes ?? 0)
  const resolved: Required<ServerLimits> = {
    ...LIMITS,
    bodyRate,
    memory: Math.max(LIMITS.memory, minMemory),
    ...limits,
  }
  for (const [name, value] of Object.entries(resolved)) {
    checkNumber(`limits.${name}`, value, DURATIONS.includes(name) ? { max: MAX_TIMER } : { integer: true })
  }
  checkNumber('limits.bodyRate', resolved.bodyRate, { integer: true, min: resolved.bodyBytes })
  checkNumber('limits.memory', resolved.memory, { integer: true, min: minMemory })
  return resolved
}
