import { defaultEventSource, type EventSourceFactory } from './adapters/eventSourceStream'
import type { HeaderMap, HeadersHook } from './adapters/fetchUpstream'
import { type PageLifecycle, pageLifecycle } from './adapters/pageLifecycle'
import { eventSourceTransport, type Transport } from './adapters/transport'
import { ConnectionError } from './errors'
import type { BackoffPolicy, Timeouts } from './machine/types'
import { type Cursor, ENDPOINTS, isCursor, isObject, isSeq, isText, type JsonObject, RESERVED_TYPES } from './protocol'
import type { StoreOptions } from './store'
import type { Clock, ConnectionOptions, OutboxLimits } from './types'

/** The options, checked and complete. */
export interface Settings
  extends Omit<ConnectionOptions, 'headers' | 'heartbeat' | 'inspect' | 'pageLifecycle' | 'protocol' | 'storage'> {
  readonly fetch: typeof fetch
  readonly createEventSource: EventSourceFactory
  readonly transport: Transport
  readonly headers?: HeaderMap | HeadersHook
  readonly credentials: NonNullable<ConnectionOptions['credentials']>
  readonly cursors: readonly Cursor[]
  readonly outbox: Omit<OutboxLimits, 'maxInFlight'> & Partial<OutboxLimits>
  readonly store: StoreOptions | null
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

/** [spec] HTML, timers: a longer delay overflows the signed 32-bit integer and fires at once. */
export const MAX_DELAY = 2_147_483_647

interface Check {
  (value: unknown): unknown
  /** For the message; completes "that is not …". */
  expected?: string
}
/** Each option's check and default, in a list; an option of options is a table of its own. */
type Table = { readonly [option: string]: Table | readonly [check: Check, preset?: unknown] }

export const being = (expected: string, check: Check) => Object.assign(check, { expected })
export const oneOf = (names: string) =>
  being(`one of ${names}`, (value) => isText(value) && names.split(' ').includes(value))
export const isFunction = being('a function', (value) => typeof value === 'function')
export const isAge = being('ms above 0', (value) => typeof value === 'number' && value > 0)
const isTimeout = being('ms above 0 and below 2^31', (value) => isAge(value) && (value as number) <= MAX_DELAY)
export const isDelay = being('0, or ms below 2^31', (value) => value === 0 || isTimeout(value))
export const isWhole = being('a whole number', (value) => isSeq(value))
const isCount = being('a whole number, or Infinity', (value) => value === Infinity || isSeq(value))
const isAtLeastOne = being('a whole number above 0, or Infinity', (value) => value !== 0 && isCount(value))
export const isName = being('a string with characters', (value) => isText(value) && value)
const isOptions = being('an object', (value) => isObject(value))
const has = (methods: string) =>
  being(
    `an object with ${methods}`,
    (value) => isObject(value) && methods.split(', ').every((name) => isFunction(value[name])),
  )
const maps = (pattern: RegExp) => (value: unknown) =>
  isObject(value) && Object.values(value).every((entry) => isText(entry) && pattern.test(entry))
const isComplete = has('getItem, setItem, removeItem, key')
const isStorage = being(
  `a storage that answers at once, like localStorage: ${isComplete.expected}, length`,
  (value) => {
    try {
      return isComplete(value)
    } catch {
      // One that cannot even be looked at is used like any other that fails: reported, once.
      return true
    }
  },
)

export const invalid = (option: string, why: string) => new ConnectionError('invalid-option', `${option}: ${why}`)

/** For a message: neither a password nor a token of a URL. */
const show = (value: unknown) =>
  isText(value)
    ? `"${value.replace(/\/\/.*@|[?#].*/, '…')}"`
    : Object(value) === value
      ? `this ${typeof value}`
      : String(value)

/** Throws a `ConnectionError` (`invalid-option`) that names the option, what it is and what it should be. */
export function check(option: string, value: unknown, test: Check) {
  try {
    if (test(value)) return
  } catch {}
  // What is given as headers is likely to be a token.
  throw invalid(option, `${option === 'headers' ? `this ${typeof value}` : show(value)} is not ${test.expected}`)
}

/** What is `undefined` is not given; without a default of `null` it need not be. */
export function read(table: Table, options: unknown = {}, path = ''): object {
  check(path || 'options', options, isOptions)
  const given = options as JsonObject
  const prefix = path && `${path}.`
  for (const key of Object.keys(given)) {
    const names = Object.keys(table)
    if (!names.includes(key)) throw invalid(prefix + key, `there is no such option; there are ${names.join(', ')}`)
  }
  return Object.fromEntries(
    Object.entries(table).map(([key, rule]) => {
      const option = prefix + key
      if (!Array.isArray(rule)) return [key, read(rule as Table, given[key], option)]
      const [test, preset] = rule
      const { [key]: value = preset ?? undefined } = given
      if (value !== undefined || preset === null) check(option, value, test)
      return [key, value]
    }),
  )
}

const CLOCK: Clock = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
}

/** A relative one stays as it is where there is no page, e.g. while a server renders: it must not connect there. */
const resolve = (url: string) => {
  const page = globalThis.location?.href
  return page || isAbsolute(url) ? new URL(url, page).href : url
}
export const isAbsolute = (url: string) => /^https?:/i.test(url)
export const isUrl = being(
  'an http(s) URL without credentials, query or fragment',
  (value) => isText(value) && /^(https?:\/\/[^/@]+\/[^?#]*|[^:?#]*)$/.test(resolve(value)),
)

function readStore(given: NonNullable<ConnectionOptions['storage']>, url: string, clock: Clock): StoreOptions | null {
  const table = {
    storage: [(value) => value === null || isStorage(value)],
    key: [isName, `holdline:${url}`],
    locks: [has('request'), globalThis.navigator?.locks],
  } satisfies Table
  const { storage, ...rest } = read(
    table,
    isStorage(given) || !('storage' in given) ? { storage: given } : { ...given },
    'storage',
  ) as StoreOptions
  return storage ? { ...rest, storage, clock } : null
}

export function readOptions(options: ConnectionOptions): Settings {
  const settings = read(
    {
      url: [isUrl, null],
      // Called without a `this`, so it need not be bound.
      fetch: [isFunction, globalThis.fetch ?? null],
      createEventSource: [isFunction],
      transport: [isFunction, eventSourceTransport],
      headers: [
        being(
          'a function, or an object of header names and strings',
          (value) => isFunction(value) || (maps(/^/)(value) && new Headers(value as HeadersInit)),
        ),
      ],
      credentials: [oneOf('omit same-origin include'), 'same-origin'],
      cursors: [
        being('a list of { sessionId, lastSeq, epoch? }', (value) => Array.isArray(value) && value.every(isCursor)),
        [],
      ],
      outbox: {
        maxMessages: [isAtLeastOne, 1_000],
        maxBytes: [isAtLeastOne, 4_194_304],
        maxAge: [isAge, Infinity],
        overflow: [oneOf('reject drop-oldest'), 'reject'],
        maxInFlight: [isAtLeastOne],
      },
      // Where the platform has none, it may be null.
      storage: [being('a storage', (value) => value === null || isObject(value))],
      timeouts: {
        connect: [isTimeout, 15_000],
        welcome: [isTimeout, 10_000],
        resume: [isTimeout, 15_000],
        send: [isTimeout, 15_000],
        probe: [isTimeout, 2_000],
      },
      backoff: {
        base: [isDelay, 500],
        cap: [isDelay, 30_000],
        maxAttempts: [isCount, Infinity],
        stableDelay: [isDelay, 5_000],
      },
      heartbeat: [isTimeout],
      dedupe: [being('true or false', (value) => typeof value === 'boolean'), true],
      pageLifecycle: [
        being('false, or an object with subscribe', (value) => value === false || has('subscribe')(value)),
      ],
      inspect: [being('a function, or an object with next', (value) => isFunction(value) || has('next')(value))],
      clock: [has('now, setTimeout, clearTimeout'), CLOCK],
      random: [isFunction, Math.random],
      protocol: {
        endpoints: [
          being(
            `a map from types, but not ${RESERVED_TYPES}, to path segments`,
            (value) => maps(/^[\w-]+$/)(value) && !RESERVED_TYPES.some((type) => type in Object(value)),
          ),
        ],
      },
    },
    options ?? null,
  ) as Settings & Pick<ConnectionOptions, 'protocol' | 'storage'>
  if (!globalThis.crypto?.getRandomValues)
    throw invalid(
      'crypto.getRandomValues',
      "there is none, and ids are drawn from it; in React Native import 'react-native-get-random-values' first",
    )
  const url = resolve(settings.url).replace(/\/+$/, '')
  // Not a spread: V8 gives each clone that is added to a hidden class of its own, 0.5 KiB.
  return Object.assign(settings, {
    url,
    createEventSource: settings.createEventSource ?? defaultEventSource(!!settings.headers),
    pageLifecycle: (settings.pageLifecycle ?? pageLifecycle(settings.clock)) || null,
    endpoints: { ...ENDPOINTS, ...settings.protocol?.endpoints },
    store: settings.storage ? readStore(settings.storage, url, settings.clock) : null,
  })
}
