import { defaultEventSource, type EventSourceFactory } from './adapters/eventSourceStream'
import type { HeadersHook } from './adapters/fetchUpstream'
import { type PageLifecycle, pageLifecycle } from './adapters/pageLifecycle'
import { ConnectionError } from './errors'
import type { BackoffPolicy, Timeouts } from './machine/types'
import { type Cursor, ENDPOINTS, isObject, isSeq } from './protocol'
import type { Clock, ConnectionOptions } from './types'

/** The options, checked and complete. */
export interface Settings {
  readonly url: string
  readonly fetch: typeof fetch
  readonly createEventSource: EventSourceFactory
  readonly headers: Readonly<Record<string, string>> | HeadersHook | undefined
  readonly credentials: RequestCredentials
  readonly cursors: readonly Cursor[]
  readonly timeouts: Timeouts
  readonly backoff: BackoffPolicy
  readonly heartbeat: number | null
  readonly dedupe: boolean
  readonly pageLifecycle: PageLifecycle | null
  readonly inspect: ConnectionOptions['inspect']
  readonly clock: Clock
  readonly random: () => number
  readonly endpoints: Readonly<Record<string, string>>
}

const TIMEOUTS: Timeouts = { connect: 15_000, welcome: 10_000, resume: 15_000, send: 15_000, probe: 2_000 }
const BACKOFF: BackoffPolicy = {
  base: 500,
  cap: 30_000,
  maxAttempts: Number.POSITIVE_INFINITY,
  stableDelay: 5_000,
}
const REAL_CLOCK: Clock = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
}
/** [spec] HTML, timers: a longer delay overflows the signed 32-bit integer and fires at once. */
const MAX_DELAY = 2 ** 31 - 1

type Check = (value: unknown) => boolean

const isFunction: Check = (value) => typeof value === 'function'
const isDelay: Check = (value) => typeof value === 'number' && value > 0 && value <= MAX_DELAY
const isDelayOrZero: Check = (value) => value === 0 || isDelay(value)
const isCount: Check = (value) => isSeq(value) || value === Number.POSITIVE_INFINITY
const isStringMap: Check = (value) =>
  isObject(value) && Object.values(value).every((entry) => typeof entry === 'string')
const isEndpointMap: Check = (value) =>
  isStringMap(value) && Object.values(value as object).every((endpoint) => /^[\w-]+$/.test(endpoint))
const isCursor: Check = (value) =>
  isObject(value) &&
  typeof value.sessionId === 'string' &&
  value.sessionId !== '' &&
  isSeq(value.lastSeq) &&
  (value.epoch === undefined || typeof value.epoch === 'string')
const isHeaderMap: Check = (value) => {
  try {
    return isStringMap(value) && !!new Headers(value as Record<string, string>)
  } catch {
    return false
  }
}
const hasMethods =
  (...names: string[]): Check =>
  (value) =>
    isObject(value) && names.every((name) => isFunction(value[name]))

/** Option → what it has to be, in words and as a check. */
const RULES: Record<string, readonly [string, Check]> = {
  url: ['an absolute http(s) URL, or one relative to the page, without query, fragment and credentials', () => true],
  fetch: ['a function', isFunction],
  createEventSource: ['a function', isFunction],
  headers: [
    'a map of valid header names and values, or a function',
    (value) => isFunction(value) || isHeaderMap(value),
  ],
  credentials: [
    "'omit', 'same-origin' or 'include'",
    (value) => ['omit', 'same-origin', 'include'].includes(value as string),
  ],
  cursors: ['an array of { sessionId, lastSeq, epoch? }', (value) => Array.isArray(value) && value.every(isCursor)],
  timeouts: ['an object', isObject],
  backoff: ['an object', isObject],
  heartbeat: ['a number of ms, above 0', isDelay],
  dedupe: ['a boolean', (value) => typeof value === 'boolean'],
  pageLifecycle: ['an object with subscribe(), or false', (value) => value === false || hasMethods('subscribe')(value)],
  inspect: ['a function or an observer', (value) => isFunction(value) || hasMethods('next')(value)],
  clock: ['{ now, setTimeout, clearTimeout }', hasMethods('now', 'setTimeout', 'clearTimeout')],
  random: ['a function', isFunction],
  protocol: ['an object', isObject],
  'timeouts.connect': ['a number of ms, above 0', isDelay],
  'timeouts.welcome': ['a number of ms, above 0', isDelay],
  'timeouts.resume': ['a number of ms, above 0', isDelay],
  'timeouts.send': ['a number of ms, above 0', isDelay],
  'timeouts.probe': ['a number of ms, above 0', isDelay],
  'backoff.base': ['a number of ms, 0 or more', isDelayOrZero],
  'backoff.cap': ['a number of ms, 0 or more', isDelayOrZero],
  'backoff.maxAttempts': ['a whole number, or Infinity', isCount],
  'backoff.stableDelay': ['a number of ms, 0 or more', isDelayOrZero],
  'protocol.endpoints': ['a map from message type to a path segment', isEndpointMap],
}

const invalid = (option: string, expected: string, cause?: unknown) =>
  new ConnectionError('invalid-option', `${option}: expected ${expected}`, { cause })

function check(given: object, prefix = '') {
  for (const [key, value] of Object.entries(given)) {
    const option = prefix + key
    const rule = Object.hasOwn(RULES, option) ? RULES[option] : undefined
    if (!rule) throw new ConnectionError('invalid-option', `${option}: there is no such option`)
    const [expected, isValid] = rule
    if (value !== undefined && !isValid(value)) throw invalid(option, expected)
    if (!prefix && isObject(value) && ['timeouts', 'backoff', 'protocol'].includes(key)) check(value, `${key}.`)
  }
}

/** Throws a `ConnectionError` (`invalid-option`) that names the culprit. */
export function readOptions(options: ConnectionOptions): Settings {
  if (!isObject(options)) throw invalid('options', 'an object with at least `url`')
  check(options)
  const clock = options.clock ?? REAL_CLOCK
  const fetch = options.fetch ?? globalThis.fetch?.bind(globalThis)
  if (!fetch) throw invalid('fetch', 'a function, since there is no global one here')
  return {
    url: readUrl(options.url),
    fetch,
    createEventSource: options.createEventSource ?? defaultEventSource(options.headers !== undefined),
    headers: options.headers,
    credentials: options.credentials ?? 'same-origin',
    cursors: options.cursors ?? [],
    timeouts: withDefaults(TIMEOUTS, options.timeouts),
    backoff: withDefaults(BACKOFF, options.backoff),
    heartbeat: options.heartbeat ?? null,
    dedupe: options.dedupe ?? true,
    pageLifecycle: options.pageLifecycle === false ? null : (options.pageLifecycle ?? pageLifecycle(clock)),
    inspect: options.inspect,
    clock,
    random: options.random ?? Math.random,
    endpoints: { ...ENDPOINTS, ...options.protocol?.endpoints },
  }
}

/** An option that is given as `undefined` is not given. */
function withDefaults<T extends object>(defaults: T, given: Partial<T> = {}): T {
  const present = Object.entries(given).filter(([, value]) => value !== undefined)
  return { ...defaults, ...Object.fromEntries(present) }
}

function readUrl(url: unknown): string {
  const expected = RULES.url?.[0] ?? ''
  if (typeof url !== 'string') throw invalid('url', expected)
  let parsed: URL
  try {
    parsed = new URL(url, globalThis.location?.href)
  } catch (cause) {
    throw invalid('url', expected, cause)
  }
  const { protocol, search, hash, username, href } = parsed
  if (!/^https?:$/.test(protocol) || search || hash || username) throw invalid('url', expected)
  return href.replace(/\/+$/, '')
}
