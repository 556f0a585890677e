import { ConnectionError } from '../../errors'
import { ENDPOINTS, isObject, isText, type JsonObject, parseControl, RESERVED_TYPES } from '../index'
import { ProtocolError } from './protocolError'
import { type InputOf, isSchema, type Judged, judge, type OutputOf, type ProtocolIssue, type Schema } from './schema'
import type { Check, Part, Protocol } from './types'

type Schemas = Readonly<Record<string, Schema>>
/** A message is an object, before and after its schema. */
type MessageSchemas = Readonly<Record<string, Schema<object, object>>>

export interface ProtocolDefinition<Up extends MessageSchemas, Down extends MessageSchemas, Answers> {
  /**
   * From client to server, by type: the schema of the fields that the app sends. `type` and
   * `sessionId` are added, and a schema may name them too.
   */
  readonly up: Up
  /** From server to client, by type: the schema of the fields that the app publishes. */
  readonly down: Down
  /** What `onCommand` returns for a message of `up`. Default: it is not checked, and `unknown`. */
  readonly receipts?: Answers & { readonly [Type in Exclude<keyof Answers, keyof Up>]: never }
  /** Where a type of your own is posted to. Default: an endpoint of its name. */
  readonly endpoints?: { readonly [Type in keyof Up]?: Type extends keyof typeof ENDPOINTS ? never : string }
}

type Inputs<S> = { readonly [Type in keyof S]: InputOf<S[Type]> }
type Outputs<S> = { readonly [Type in keyof S]: OutputOf<S[Type]> }

/**
 * The message types of an app, with their schemas, as one value for both sides:
 * `createConnection({ protocol })` and `createChatServer({ protocol })`. Both take no other types
 * than these.
 *
 * @throws {ConnectionError} `invalid-option`, which names the type that is taken, or has no schema
 */
export function defineProtocol<
  const Up extends MessageSchemas,
  const Down extends MessageSchemas,
  const Answers extends { readonly [Type in keyof Up]?: Schema } = Record<never, Schema>,
>(
  definition: ProtocolDefinition<Up, Down, Answers>,
): Protocol<
  { readonly up: Inputs<Up>; readonly down: Inputs<Down>; readonly receipts: Inputs<Answers> },
  { readonly up: Outputs<Up>; readonly down: Outputs<Down>; readonly receipts: Outputs<Answers> }
> {
  const { up, down, receipts = {} } = definition
  for (const [part, schemas] of Object.entries({ up, down, receipts })) checkSchemas(part, schemas)
  const lost = Object.keys(receipts).find((type) => !Object.hasOwn(up, type))
  if (lost) throw invalid('receipts', `'${lost}' is no type of up`)
  const endpoints = endpointsOf(Object.keys(up), definition.endpoints)
  return { endpoints, check: checkOf({ up, down, receipts: receipts as unknown as Schemas }) } as never
}

const invalid = (where: string, why: string) => new ConnectionError('invalid-option', `protocol.${where}: ${why}`)

function checkSchemas(part: string, schemas: unknown) {
  if (!isObject(schemas)) throw invalid(part, 'it is no object of schemas by type')
  for (const [type, schema] of Object.entries(schemas)) {
    if (!isSchema(schema)) throw invalid(`${part}.${type}`, 'it is no Standard Schema (of zod, valibot, arktype …)')
    const isTaken =
      part === 'down' ? type === 'welcome' || isOfRuns(type) || parseControl({ type }) : OWN.includes(type)
    if (isTaken) throw invalid(`${part}.${type}`, 'the type is the library’s')
  }
}

/** Types of messages that the library sends. */
const OWN: readonly string[] = [...RESERVED_TYPES, 'watch', 'unwatch', 'session_suspend']
/** Endpoints that do not take commands. */
const TAKEN: readonly string[] = [...RESERVED_TYPES, 'watch', 'unwatch', 'suspend', 'events']

function endpointsOf(types: readonly string[], own: JsonObject = {}): Readonly<Record<string, string>> {
  const known: Readonly<Record<string, string>> = ENDPOINTS
  const isOwn = (type: string) => types.includes(type) && !Object.hasOwn(known, type)
  const odd = Object.keys(own).find((type) => !isOwn(type))
  if (odd) throw invalid('endpoints', `'${odd}' is no type of up of your own`)
  const pairs = types.map((type) => {
    const endpoint = isOwn(type) ? (own[type] ?? type) : known[type]
    if (isText(endpoint) && /^[\w-]+$/.test(endpoint) && !TAKEN.includes(endpoint)) return [type, endpoint] as const
    throw invalid(`endpoints.${type}`, 'it must be letters, digits, _ and -, and not taken by the library')
  })
  return Object.fromEntries(pairs)
}

const CODES = { up: 'invalid-message', down: 'bad-message', receipts: 'bad-message' } as const

/** One message, or one receipt, and what it is called in an error. */
interface Subject {
  readonly part: Part
  readonly type: string
  readonly message: unknown
}

function checkOf(schemas: Readonly<Record<Part, Schemas>>): Check {
  return (part, message, fail, type = Object(message).type) => {
    const of = schemas[part]
    const schema = isText(type) && Object.hasOwn(of, type) ? of[type] : undefined
    if (part === 'receipts' && !(schema && Object(message).receipt != null)) return message
    if (part === 'down' && !schema && isOfLibrary(type)) return message
    try {
      if (!schema) throw unknownType(part, type, Object.keys(of).join(', '))
      const subject: Subject = { part, type: type as string, message }
      const told = read(schema, subject)
      if (!(told instanceof Promise)) return told
      const error = misfit(
        subject,
        'its schema is async, or one of zod that threw: only a server waits for that, and only on the way up',
      )
      throw Object.assign(error, { later: told })
    } catch (error) {
      fail(error as ProtocolError)
      return part === 'receipts' ? { ...Object(message), receipt: null } : undefined
    }
  }
}

/** Events of runs, of `holdline/ai-sdk` and of `holdline/ag-ui`. */
const isOfRuns = (type: string) => type.startsWith('run.')
const isOfLibrary = (type: unknown) => isText(type) && (isOfRuns(type) || type === 'ui' || type === 'agui')

function unknownType(part: Part, type: unknown, types: string): ProtocolError {
  const seen = isText(type) ? `'${type.slice(0, 64)}'` : typeof type
  const why = `${part}: ${seen} is no message of the protocol, which has ${types}`
  const issues = [{ path: ['type'], message: `expected one of ${types}` }]
  return new ProtocolError(part === 'up' ? 'unknown-type' : CODES[part], why, issues)
}

function misfit({ part, type }: Subject, why: string, issues: readonly ProtocolIssue[] = [], cause?: unknown) {
  return new ProtocolError(CODES[part], `${part}.${type}: ${why}`, issues, cause)
}

/** @throws ProtocolError, or rejects with one */
function read(schema: Schema, subject: Subject): unknown {
  const { part, type, message } = subject
  const isReceipt = part === 'receipts'
  const envelope = isReceipt ? {} : envelopeOf(part, type, message as JsonObject)
  const fail = (cause: unknown): never => {
    throw misfit(subject, 'its schema threw', [], cause)
  }
  const conclude = (judged: Judged): unknown => {
    if ('issues' in judged) throw misfit(subject, sentenceOf(judged.issues), judged.issues)
    if (isReceipt) return { ...Object(message), receipt: judged.value }
    if (!isObject(judged.value)) throw misfit(subject, 'its schema makes of it what is no object')
    return { ...envelope, ...judged.value, type }
  }
  let judged: Judged | Promise<Judged>
  try {
    judged = judge(schema, isReceipt ? (message as JsonObject).receipt : withHidden(message as JsonObject, envelope))
  } catch (cause) {
    return fail(cause)
  }
  if (!(judged instanceof Promise)) return conclude(judged)
  const later = judged.catch(fail).then(conclude)
  // Where it is not waited for.
  later.catch(() => {})
  return later
}

const sentenceOf = (issues: readonly ProtocolIssue[]) =>
  `does not fit the protocol: ${issues.map(({ path, message }) => `${path.join('.') || 'all of it'} (${message})`).join(', ')}`

const ENVELOPES = { up: ['type', 'sessionId'], down: ['type', 'sessionId', 'seq', 'epoch', 'prevSeq'] }

/** The fields that are not the app's. */
function envelopeOf(part: 'up' | 'down', type: string, message: JsonObject): JsonObject {
  // Those of a stop: what it takes back.
  const names = part === 'up' && type === 'stop' ? [...ENVELOPES.up, 'cancels'] : ENVELOPES[part]
  return Object.fromEntries(names.filter((name) => Object.hasOwn(message, name)).map((name) => [name, message[name]]))
}

/**
 * The envelope is not enumerable: a schema that asks for a field of it finds it, and one that
 * allows no further fields does not see it.
 */
function withHidden(message: JsonObject, envelope: JsonObject): object {
  const shown = { ...message }
  for (const [name, value] of Object.entries(envelope))
    Object.defineProperty(shown, name, { value, enumerable: false, configurable: true, writable: true })
  return shown
}
