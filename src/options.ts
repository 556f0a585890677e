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

/** What an option has to be, in words and as a check. */
type Rule = readonly [string, (value: unknown) => boolean]
type Rules = { readonly [option: string]: Rule | Rules }

const isFunction = (value: unknown) => typeof value === 'function'
const hasMethods = (value: unknown, names: readonly string[]) =>
  isObject(value) && names.every((name) => isFunction(value[name]))
const isStringMap = (value: unknown) =>
  isObject(value) && Object.values(value).every((entry) => typeof entry === 'string')
const isHeaderMap = (value: unknown) => {
  try {
    return isStringMap(value) && !!new Headers(value as HeadersInit)
  } catch {
    return false
  }
}
const isCursor = (value: unknown) =>
  isObject(value) &&
  typeof value.sessionId === 'string' &&
  value.sessionId !== '' &&
  isSeq(value.lastSeq) &&
  ['string', 'undefined'].includes(typeof value.epoch)

const URL_RULE = 'an http(s) URL without credentials, query and fragment, absolute or relative to the page'
const FUNCTION: Rule = ['a function', isFunction]
const TIMEOUT: Rule = ['ms > 0', (value) => typeof value === 'number' && value > 0 && value <= MAX_DELAY]
const DELAY: Rule = ['ms ≥ 0', (value) => value === 0 || TIMEOUT[1](value)]

const RULES: Rules = {
  url: [URL_RULE, () => true],
  fetch: FUNCTION,
  createEventSource: FUNCTION,
  headers: ['valid headers or a function', (value) => isFunction(value) || isHeaderMap(value)],
  credentials: ['omit, same-origin or include', (value) => /^(omit|same-origin|include)$/.test(String(value))],
  cursors: ['{ sessionId, lastSeq, epoch? }[]', (value) => Array.isArray(value) && value.every(isCursor)],
  timeouts: { connect: TIMEOUT, welcome: TIMEOUT, resume: TIMEOUT, send: TIMEOUT, probe: TIMEOUT },
  backoff: {
    base: DELAY,
    cap: DELAY,
    maxAttempts: ['a whole number or Infinity', (value) => isSeq(value) || value === Number.POSITIVE_INFINITY],
    stableDelay: DELAY,
  },
  heartbeat: TIMEOUT,
  dedupe: ['a boolean', (value) => typeof value === 'boolean'],
  pageLifecycle: ['{ subscribe } or false', (value) => value === false || hasMethods(value, ['subscribe'])],
  inspect: ['a function or an observer', (value) => isFunction(value) || hasMethods(value, ['next'])],
  clock: ['{ now, setTimeout, clearTimeout }', (value) => hasMethods(value, ['now', 'setTimeout', 'clearTimeout'])],
  random: FUNCTION,
  protocol: {
    endpoints: [
      'a map from message type to path segment',
      (value) => isStringMap(value) && Object.values(value as object).every((endpoint) => /^[\w-]+$/.test(endpoint)),
    ],
  },
}

const invalid = (option: string, expected: string, cause?: unknown) =>
  new ConnectionError('invalid-option', `${option}: expected ${expected}`, { cause })

function check(given: unknown, rules: Rules, path = '') {
  if (!isObject(given)) throw invalid(path || 'options', 'an object')
  for (const [key, value] of Object.entries(given)) {
    const option = path ? `${path}.${key}` : key
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined
    if (!rule) throw invalid(option, `no such option, but one of ${Object.keys(rules)}`)
    if (value === undefined) continue
    if (!Array.isArray(rule)) check(value, rule as Rules, option)
    else if (!rule[1](value)) throw invalid(option, rule[0])
  }
}

/** Throws a `ConnectionError` (`invalid-option`) that names the culprit. */
export function readOptions(options: ConnectionOptions): Settings {
  check(options, RULES)
  const clock = options.clock ?? REAL_CLOCK
  const fetch = options.fetch ?? globalThis.fetch?.bind(globalThis)
  if (!fetch) throw invalid('fetch', 'a function: there is no global one')
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
  try {
    const { protocol, search, hash, username, href } = new URL(String(url), globalThis.location?.href)
    if (typeof url === 'string' && /^https?:$/.test(protocol) && !search && !hash && !username) {
      return href.replace(/\/+$/, '')
    }
  } catch {}
  throw invalid('url', URL_RULE)
}
