import { ConnectionError } from '../errors'
import { isObject, isSeq, isText, type JsonObject, LANE } from '../protocol'

// The checks of what an app gives, and the reader of a table of them.

/** [spec] HTML, timers: a longer delay overflows the signed 32-bit integer and fires at once. */
export const MAX_DELAY = 2_147_483_647

export interface Check {
  (value: unknown): unknown
  /** For the message; completes "that is not …". */
  expected?: string
}
/** In the place of a default: the option has to be given. */
export const REQUIRED = Symbol()
/** Each option's check and default, in a list; an option of options is a table of its own. */
export type Table = { readonly [option: string]: Table | readonly [check: Check, preset?: unknown] }

export const being = (expected: string, check: Check) => Object.assign(check, { expected })
export const oneOf = (names: string) => being(`one of ${names}`, (value) => names.split(', ').includes(value as string))
export const isFunction = being('a function', (value) => typeof value === 'function')
export const isAge = being('ms > 0', (value) => typeof value === 'number' && value > 0)
export const isTimeout = being('ms > 0, < 2^31', (value) => isAge(value) && (value as number) <= MAX_DELAY)
export const isDelay = being('ms, < 2^31', (value) => value === 0 || isTimeout(value))
export const isWhole = being('a whole number', (value) => isSeq(value))
export const isCount = being('a whole number or Infinity', (value) => value === Infinity || isSeq(value))
export const isAtLeastOne = being('a whole number > 0 or Infinity', (value) => value !== 0 && isCount(value))
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
export const maps = (pattern: RegExp) => (value: unknown) =>
  isObject(value) && Object.values(value).every((entry) => isText(entry) && pattern.test(entry))
export const isSignal = being('an AbortSignal', (value) => isFunction(Object(value).addEventListener))
export const isBoolean = being('a boolean', (value) => typeof value === 'boolean')
export const isPersistence = being(
  'what persist() returns: write persist(localStorage), with persist from holdline/storage',
  (value) => value === null || isFunction(Object(value).open),
)

export const invalid = (option: string, why: string) => new ConnectionError('invalid-option', `${option}: ${why}`)

/**
 * Throws a `ConnectionError` (`invalid-option`) that names the option, what it is and what it
 * should be.
 */
export function check(option: string, value: unknown, test: Check) {
  try {
    if (test(value)) return
  } catch {}
  // Hides what may be a secret: a text given as headers, and what a URL has before an @ or after a
  // ?.
  const seen = Object(value) === value || option === 'headers' ? typeof value : String(value)
  throw invalid(option, `${seen.replace(/\/\/.*@|[?#].*/, '…')} is not ${test.expected}`)
}

/** An option that is `undefined` is not given. */
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
      const { [key]: value = preset } = given
      if (value !== undefined) check(option, value === REQUIRED ? undefined : value, test)
      return [key, value]
    }),
  )
}

/**
 * A relative URL stays as it is where there is no page, e.g. while a server renders: it must not
 * connect there.
 */
export const resolveUrl = (url: string) => {
  const page = globalThis.location?.href
  return page || isAbsolute(url) ? new URL(url, page).href : url
}
export const isAbsolute = (url: string) => /^https?:/i.test(url)
export const isUrl = being(
  'an http(s) URL without @, ? or #',
  (value) => isText(value) && /^(https?:\/\/[^/@]+\/[^?#]*|[^:?#]*)$/.test(resolveUrl(value)),
)
