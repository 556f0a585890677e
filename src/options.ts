import { defaultEventSource, type EventSourceFactory } from './adapters/eventSourceStream'
import type { HeaderMap, HeadersHook } from './adapters/fetchUpstream'
import { type PageLifecycle, pageLifecycle } from './adapters/pageLifecycle'
import { ConnectionError } from './errors'
import type { BackoffPolicy, Timeouts } from './machine/types'
import { type Cursor, ENDPOINTS, isObject, isSeq } from './protocol'
import type { Clock, ConnectionOptions } from './types'

/** The options, checked and complete. */
export interface Settings
  extends Omit<ConnectionOptions, 'headers' | 'heartbeat' | 'inspect' | 'pageLifecycle' | 'protocol'> {
  readonly fetch: typeof fetch
  readonly createEventSource: EventSourceFactory
  readonly headers?: HeaderMap | HeadersHook
  readonly credentials: RequestCredentials
  readonly cursors: readonly Cursor[]
  readonly timeouts: Timeouts
  readonly backoff: BackoffPolicy
  readonly heartbeat?: number
  readonly dedupe: boolean
  readonly pageLifecycle: PageLifecycle | null
  readonly inspect?: NonNullable<ConnectionOptions['inspect']>
  readonly clock: Clock
  readonly random: () => number
  readonly endpoints: Readonly<Record<string, string>>
}

const DEFAULTS = {
  credentials: 'same-origin',
  cursors: [],
  timeouts: { connect: 15_000, welcome: 10_000, resume: 15_000, send: 15_000, probe: 2_000 },
  backoff: { base: 500, cap: 30_000, maxAttempts: Number.POSITIVE_INFINITY, stableDelay: 5_000 },
  dedupe: true,
  random: Math.random,
  clock: {
    now: Date.now,
    setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms),
    clearTimeout: (timer: unknown) => clearTimeout(timer as ReturnType<typeof setTimeout>),
  },
} as const
/** [spec] HTML, timers: a longer delay overflows the signed 32-bit integer and fires at once. */
const MAX_DELAY = 2 ** 31 - 1

type Check = (value: unknown) => boolean

const isFunction: Check = (value) => typeof value === 'function'
const isTimeout: Check = (value) => typeof value === 'number' && value > 0 && value <= MAX_DELAY
const isDelay: Check = (value) => value === 0 || isTimeout(value)
const has =
  (...methods: string[]): Check =>
  (value) =>
    isObject(value) && methods.every((method) => isFunction(value[method]))
const maps =
  (pattern: RegExp): Check =>
  (value) =>
    isObject(value) && Object.values(value).every((entry) => typeof entry === 'string' && pattern.test(entry))
const isHeaderMap: Check = (value) => {
  try {
    return maps(/^/)(value) && !!new Headers(value as HeadersInit)
  } catch {
    return false
  }
}
const isCursor: Check = (value) =>
  isObject(value) &&
  typeof value.sessionId === 'string' &&
  value.sessionId !== '' &&
  isSeq(value.lastSeq) &&
  /^(string|undefined)$/.test(typeof value.epoch)

/** Options, what they have to be in words, and as a check. */
const RULES: readonly (readonly [string, string, Check])[] = [
  ['url', 'an http(s) URL, absolute or relative to the page, without credentials, query and fragment', () => true],
  ['fetch createEventSource random', 'a function', isFunction],
  ['headers', 'a function or a map of valid headers', (value) => isFunction(value) || isHeaderMap(value)],
  ['credentials', 'omit, same-origin or include', (value) => /^(omit|same-origin|include)$/.test(String(value))],
  ['cursors', '{ sessionId, lastSeq, epoch? }[]', (value) => Array.isArray(value) && value.every(isCursor)],
  ['timeouts backoff protocol', 'an object', isObject],
  ['timeouts.connect timeouts.welcome timeouts.resume timeouts.send timeouts.probe heartbeat', 'ms > 0', isTimeout],
  ['backoff.base backoff.cap backoff.stableDelay', 'ms ≥ 0', isDelay],
  ['backoff.maxAttempts', 'a whole number', (value) => isSeq(value) || value === Number.POSITIVE_INFINITY],
  ['dedupe', 'a boolean', (value) => typeof value === 'boolean'],
  ['pageLifecycle', '{ subscribe } or false', (value) => value === false || has('subscribe')(value)],
  ['inspect', 'a function or an observer', (value) => isFunction(value) || has('next')(value)],
  ['clock', '{ now, setTimeout, clearTimeout }', has('now', 'setTimeout', 'clearTimeout')],
  ['protocol.endpoints', 'a map from type to path segment', maps(/^[\w-]+$/)],
]

const invalid = (option: string, expected: string) =>
  new ConnectionError('invalid-option', `${option}: expected ${expected}`)

/** Leaves out what is `undefined`: it is not given. */
function check(given: unknown, prefix = ''): object {
  if (!isObject(given)) throw invalid('options', 'an object')
  const present = Object.entries(given).filter(([, value]) => value !== undefined)
  return Object.fromEntries(
    present.map(([key, value]) => {
      const option = prefix + key
      const rule = RULES.find(([options]) => options.split(' ').includes(option))
      if (!rule) throw new ConnectionError('invalid-option', `${option}: there is no such option`)
      if (!rule[2](value)) throw invalid(option, rule[1])
      return [key, /^(timeouts|backoff|protocol)$/.test(option) ? check(value, `${option}.`) : value]
    }),
  )
}

/** Throws a `ConnectionError` (`invalid-option`) that names the culprit. */
export function readOptions(options: ConnectionOptions): Settings {
  const given = check(options) as ConnectionOptions
  const settings = { ...DEFAULTS, ...given }
  const fetch = given.fetch ?? globalThis.fetch?.bind(globalThis)
  if (!fetch) throw invalid('fetch', 'a function: there is no global one')
  return {
    createEventSource: defaultEventSource(!!given.headers),
    ...settings,
    fetch,
    url: readUrl(given.url),
    timeouts: { ...DEFAULTS.timeouts, ...given.timeouts },
    backoff: { ...DEFAULTS.backoff, ...given.backoff },
    pageLifecycle: given.pageLifecycle === false ? null : (given.pageLifecycle ?? pageLifecycle(settings.clock)),
    endpoints: { ...ENDPOINTS, ...given.protocol?.endpoints },
  }
}

function readUrl(url: unknown): string {
  try {
    const { protocol, search, hash, username, href } = new URL(String(url), globalThis.location?.href)
    if (typeof url === 'string' && /^https?:$/.test(protocol) && !search && !hash && !username) {
      return href.replace(/\/+$/, '')
    }
  } catch {}
  throw invalid('url', RULES[0]?.[1] ?? '')
}
