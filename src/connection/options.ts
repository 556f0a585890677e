import type { HeaderMap, HeadersHook } from '../adapters/credentials'
import { defaultEventSource, type EventSourceFactory } from '../adapters/eventSourceStream'
import { MAX_INBOUND_BYTES } from '../adapters/fetchUpstream'
import { type PageLifecycle, pageLifecycle } from '../adapters/pageLifecycle'
import { eventSourceTransport, type Transport } from '../adapters/transport'
import { ConnectionError } from '../errors'
import type { BackoffPolicy, Timeouts } from '../machine/types'
import {
  type Cursor,
  ENDPOINTS,
  isCursor,
  isObject,
  isSeq,
  isText,
  type JsonObject,
  LANE,
  RESERVED_TYPES,
} from '../protocol'
import type { Clock, ConnectionOptions, InboundLimits, OutboxLimits } from './api'
import type { StoreMaker } from './store'

/** The options, checked and complete. */
export interface Settings
  extends Omit<ConnectionOptions, 'headers' | 'heartbeat' | 'inspect' | 'pageLifecycle' | 'protocol' | 'storage'> {
  readonly fetch: typeof fetch
  readonly createEventSource: EventSourceFactory
  readonly transport: Transport
  readonly headers?: HeaderMap | HeadersHook
  readonly cursors: readonly Cursor[]
  readonly outbox: Omit<OutboxLimits, 'maxInFlight'> & Partial<OutboxLimits>
  readonly inbound: InboundLimits
  readonly storage?: StoreMaker | null
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
export const oneOf = (names: string) => being(`one of ${names}`, (value) => names.split(', ').includes(value as string))
export const isFunction = being('a function', (value) => typeof value === 'function')
export const isAge = being('ms > 0', (value) => typeof value === 'number' && value > 0)
const isTimeout = being('ms > 0, < 2^31', (value) => isAge(value) && (value as number) <= MAX_DELAY)
export const isDelay = being('ms, < 2^31', (value) => value === 0 || isTimeout(value))
export const isWhole = being('a whole number', (value) => isSeq(value))
const isCount = being('a whole number or Infinity', (value) => value === Infinity || isSeq(value))
const isAtLeastOne = being('a whole number > 0 or Infinity', (value) => value !== 0 && isCount(value))
export const isName = being('a string, not empty', (value) => isText(value) && value)
export const isLane = being(
  '1-200 characters, none of them for control',
  (value) => isText(value) && value && value.length <= 200 && LANE.test(value),
)
const isOptions = being('an object', (value) => isObject(value))
export const has = (methods: string) =>
  being(
    `an object with ${methods}`,
    (value) => isObject(value) && methods.split(', ').every((name) => isFunction(value[name])),
  )
const maps = (pattern: RegExp) => (value: unknown) =>
  isObject(value) && Object.values(value).every((entry) => isText(entry) && pattern.test(entry))
export const isSignal = being('an AbortSignal', (value) => isFunction(Object(value).addEventListener))
export const isBoolean = being('a boolean', (value) => typeof value === 'boolean')
export const isPersistence = being(
  'what persist() returns: write persist(localStorage), with persist from holdline/storage',
  (value) => value === null || isFunction(Object(value).open),
)

export const invalid = (option: string, why: string) => new ConnectionError('invalid-option', `${option}: ${why}`)

/** Throws a `ConnectionError` (`invalid-option`) that names the option, what it is and what it should be. */
export function check(option: string, value: unknown, test: Check) {
  try {
    if (test(value)) return
  } catch {}
  // Not what may be a secret: a text given as headers, what a URL has before an @ or after a ?.
  const seen = Object(value) === value || option === 'headers' ? typeof value : String(value)
  throw invalid(option, `${seen.replace(/\/\/.*@|[?#].*/, '…')} is not ${test.expected}`)
}

/** An option that is `undefined` is not given; one whose default is `null` has to be. */
export function read(table: Table, options: unknown = {}, path = ''): object {
  check(path || 'options', options, isOptions)
  const given = options as JsonObject
  const prefix = path && `${path}.`
  for (const key of Object.keys(given))
    if (!Object.hasOwn(table, key)) throw invalid(prefix + key, 'there is no such option')
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
  elapsed: () => globalThis.performance?.now() ?? 0,
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
  'an http(s) URL without @, ? or #',
  (value) => isText(value) && /^(https?:\/\/[^/@]+\/[^?#]*|[^:?#]*)$/.test(resolve(value)),
)

export function readOptions(options: ConnectionOptions): Settings {
  const settings = read(
    {
      url: [isUrl, null],
      // Looked up at each call: request mocks and instrumentation replace it.
      fetch: [isFunction, globalThis.fetch ? (...given: Parameters<typeof fetch>) => globalThis.fetch(...given) : null],
      createEventSource: [isFunction],
      transport: [isFunction, eventSourceTransport],
      headers: [
        being(
          'a function or a map of strings',
          (value) => isFunction(value) || (maps(/^/)(value) && new Headers(value as HeadersInit)),
        ),
      ],
      credentials: [oneOf('omit, same-origin, include')],
      cursors: [being('a list of cursors', (value) => Array.isArray(value) && value.every(isCursor)), []],
      outbox: {
        maxMessages: [isAtLeastOne, 1_000],
        maxBytes: [isAtLeastOne, 4_194_304],
        maxAge: [isAge, Infinity],
        overflow: [oneOf('reject, drop-oldest'), 'reject'],
        maxInFlight: [isAtLeastOne],
        maxFailures: [isAtLeastOne, 12],
        maxDrops: [isAtLeastOne, 24],
        giveUpAfter: [isAtLeastOne, 600_000],
      },
      inbound: {
        maxSessions: [isAtLeastOne, 1_000],
        maxBytes: [isAtLeastOne, MAX_INBOUND_BYTES],
      },
      storage: [isPersistence],
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
      dedupe: [isBoolean, true],
      pageLifecycle: [being('false or a PageLifecycle', (value) => value === false || has('subscribe')(value))],
      inspect: [being('a function or an observer', (value) => isFunction(value) || has('next')(value))],
      clock: [has('now, setTimeout, clearTimeout'), CLOCK],
      random: [isFunction, Math.random],
      protocol: {
        endpoints: [
          being(
            'a map of types, not reserved, to paths',
            (value) => maps(/^[\w-]+$/)(value) && !RESERVED_TYPES.some((type) => type in Object(value)),
          ),
        ],
      },
    },
    options ?? null,
  ) as Settings & Pick<ConnectionOptions, 'protocol'>
  if (!globalThis.crypto?.getRandomValues)
    throw invalid(
      'crypto.getRandomValues',
      "there is none; in React Native import 'react-native-get-random-values' first",
    )
  const url = resolve(settings.url).replace(/\/+$/, '')
  // Not a spread: V8 gives each clone that is added to a hidden class of its own, 0.5 KiB.
  return Object.assign(settings, {
    url,
    createEventSource: settings.createEventSource ?? defaultEventSource(!!settings.headers),
    pageLifecycle: (settings.pageLifecycle ?? pageLifecycle(settings.clock)) || null,
    endpoints: { ...ENDPOINTS, ...settings.protocol?.endpoints },
  })
}
