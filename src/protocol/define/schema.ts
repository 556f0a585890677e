import { isObject, isText, type JsonObject } from '../index'

/**
 * A schema of any library that speaks Standard Schema 1 (zod, valibot, arktype and others). Its
 * interface is written out here, so that the types of this package need no other one.
 */
export interface Schema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

type TypesOf<S extends Schema> = NonNullable<S['~standard']['types']>
export type InputOf<S> = S extends Schema ? TypesOf<S>['input'] : never
export type OutputOf<S> = S extends Schema ? TypesOf<S>['output'] : never

export const isSchema = (value: unknown): value is Schema => {
  const { version, validate }: JsonObject = Object(Object(value)['~standard'])
  return version === 1 && typeof validate === 'function'
}

/** What does not fit, and where. Nothing of the message but the names of its fields. */
export interface ProtocolIssue {
  readonly path: readonly (string | number)[]
  /** What the schema expects, or its library's name for the rule. Never a value of the message. */
  readonly message: string
}

/** How a schema has judged. */
export type Judged = { readonly value: unknown } | { readonly issues: readonly ProtocolIssue[] }

const MAX_ISSUES = 10
/** The names of fields may come from a stranger. */
const MAX_TEXT = 100

/** @throws whatever the schema throws */
export function judge(schema: Schema, value: unknown): Judged | Promise<Judged> {
  const { validate, vendor } = schema['~standard']
  const judgedOf = (result: SchemaResult<unknown>): Judged =>
    result.issues ? { issues: issuesOf(result.issues, vendor) } : { value: result.value }
  const result = validate(value)
  return result instanceof Promise ? result.then(judgedOf) : judgedOf(result)
}

function issuesOf(issues: readonly SchemaIssue[], vendor: string): readonly ProtocolIssue[] {
  const told = Array.from(issues.slice(0, MAX_ISSUES), (issue) => issueOf(issue, vendor))
  return told.length > 0 ? told : [{ path: [], message: 'does not fit' }]
}

function issueOf(issue: SchemaIssue, vendor: string): ProtocolIssue {
  const path = Array.from(issue.path ?? [], (step) => {
    const key = isObject(step) ? step.key : step
    return typeof key === 'number' ? key : cut(String(key))
  })
  const expectation = VENDORS.includes(vendor) && expectationOf(issue as unknown as JsonObject)
  return { path, message: cut(expectation || 'does not fit') }
}

/** The libraries whose fields of an issue are known to say what the schema is. */
const VENDORS: readonly string[] = ['zod', 'valibot', 'arktype']
/** Of arktype: there `expected` is made of whole messages. */
const COMPOSED: readonly unknown[] = ['union', 'intersection', 'predicate']

/** Not the message that the schema's library has written: it may repeat the value. */
function expectationOf({ expected, values, format, minimum, maximum, code, type }: JsonObject): string | undefined {
  if (isText(expected) && !COMPOSED.includes(code)) return `expected ${expected}`
  if (Array.isArray(values)) return `expected one of ${values.map(String).join(', ')}`
  if (isText(format)) return `expected ${format}`
  if (isBound(minimum)) return `expected at least ${minimum}`
  if (isBound(maximum)) return `expected at most ${maximum}`
  return [code, type].find(isText)
}

const isBound = (value: unknown) => typeof value === 'number' || typeof value === 'bigint'
const cut = (text: string) => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text)
