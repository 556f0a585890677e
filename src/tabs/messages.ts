import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { isObject, isSeq, isShort, isText, type JsonObject } from '../protocol'
import { isStanding } from './facts'
import type { Standing } from './types'

/** Of all that tabs say to each other. Another version is another channel, and another lock. */
export const TABS_VERSION = 1

/** An error on its way to another tab: a clone of one would lose its code. */
export interface ErrorFields {
  readonly code: string
  readonly message: string
  readonly retryable: boolean
  readonly status?: number | undefined
  readonly retryAfter?: number | undefined
  readonly reason?: string | undefined
}

interface Fields {
  /** Who leads? */
  readonly hello: { readonly standing: Standing }
  /**
   * The state of the line, whole. `n`: of the last frame. `welcome`: that of the stream; null while
   * there is none, and then `error` may say why.
   */
  readonly line: {
    readonly term: number
    readonly standing: Standing
    readonly n: number
    readonly welcome: string | null
    readonly error: ErrorFields | null
    /** Those that the leader has heard: one that it does not hear must not follow it. */
    readonly tabs: readonly string[]
  }
  /** One frame of the stream. `to`: for that tab alone. */
  readonly frame: { readonly term: number; readonly n: number; readonly data: string; readonly to: string | null }
  readonly want: { readonly standing: Standing }
  readonly cede: { readonly to: string }
  readonly doubt: { readonly line: string }
  /** A POST about the stream. */
  readonly ask: { readonly id: number; readonly endpoint: string; readonly body: string }
  readonly answer: {
    readonly to: string
    readonly id: number
    readonly json: JsonObject | null
    readonly error: ErrorFields | null
  }
  readonly attend: { readonly sessions: readonly string[] }
  /** The tab is here no more. */
  readonly bye: object
  readonly end: object
}

export type Said = { readonly [Type in keyof Fields]: { readonly type: Type } & Fields[Type] }[keyof Fields]
/** `tab`: who says it. */
export type TabMessage = Said & { readonly tab: string }
export type Of<Type extends keyof Fields> = Extract<TabMessage, { readonly type: Type }>

type Test = (value: unknown) => boolean

const orNull =
  (test: Test): Test =>
  (value) =>
    value === null || test(value)
const isMaybe =
  (test: Test): Test =>
  (value) =>
    value === undefined || test(value)
const isName: Test = (value) => isShort(value) && value !== ''
// A fraction, where the app's clock has one.
const isWait: Test = (value) => typeof value === 'number' && value >= 0
const isError: Test = (value) =>
  isObject(value) &&
  isShort(value.code) &&
  isText(value.message) &&
  typeof value.retryable === 'boolean' &&
  isMaybe(isSeq)(value.status) &&
  isMaybe(isWait)(value.retryAfter) &&
  isMaybe(isText)(value.reason)

const isNames: Test = (value) => Array.isArray(value) && value.every(isName)

const TESTS: { readonly [Type in keyof Fields]: { readonly [Field in keyof Fields[Type]]: Test } } = {
  hello: { standing: isStanding },
  line: {
    term: isSeq,
    standing: isStanding,
    n: isSeq,
    welcome: orNull(isText),
    error: orNull(isError),
    tabs: isNames,
  },
  frame: { term: isSeq, n: isSeq, data: isText, to: orNull(isName) },
  want: { standing: isStanding },
  cede: { to: isName },
  doubt: { line: isName },
  ask: { id: isSeq, endpoint: isName, body: isText },
  answer: { to: isName, id: isSeq, json: orNull(isObject), error: orNull(isError) },
  attend: { sessions: isNames },
  bye: {},
  end: {},
}

/** Built anew from the fields that were checked; `undefined` if one of them does not fit. */
export function parseMessage(value: unknown): TabMessage | undefined {
  if (!isObject(value)) return undefined
  const { type, tab } = value
  if (!isText(type) || !isName(tab) || !Object.hasOwn(TESTS, type)) return undefined
  const tests = Object.entries(TESTS[type as keyof Fields] as Readonly<Record<string, Test>>)
  if (!tests.every(([field, test]) => test(value[field]))) return undefined
  return { type, tab, ...Object.fromEntries(tests.map(([field]) => [field, value[field]])) } as TabMessage
}

export const fieldsOf = ({ code, message, retryable, status, retryAfter, reason }: ConnectionError): ErrorFields => ({
  code,
  message,
  retryable,
  status,
  retryAfter,
  reason,
})

export const toError = ({ code, message, ...details }: ErrorFields) =>
  new ConnectionError(code as ConnectionErrorCode, message, details)
