import { ENDPOINTS, RESERVED_TYPES } from '../protocol'
import type { Protocol } from '../protocol/define/types'
import { checkFunction, checkNames } from './check'

/** They change which sessions a stream carries. */
const ATTACHING = ['reconnect', 'watch', 'unwatch'] as const
/** Their requests wait for no others. */
const AT_ONCE = ['probe', 'suspend'] as const
/** The endpoints that the server answers itself. All others take commands. */
const CONTROL = [...ATTACHING, ...AT_ONCE]
export type ControlEndpoint = (typeof CONTROL)[number]

const TAKEN: readonly string[] = [...RESERVED_TYPES, ...CONTROL, 'events']

const isOneOf =
  <E extends string>(endpoints: readonly E[]) =>
  (endpoint: string): endpoint is E =>
    (endpoints as readonly string[]).includes(endpoint)

export const isAttaching = isOneOf(ATTACHING)
export const isAtOnce = isOneOf(AT_ONCE)
export const isControl = isOneOf(CONTROL)

/**
 * The endpoints by message type. A Map, because the type comes from the client and could be
 * `constructor`.
 *
 * @throws TypeError naming the type that is taken, or whose endpoint is taken or no name
 */
export function resolveEndpoints(more: Readonly<Record<string, string>> = {}): ReadonlyMap<unknown, string> {
  if (typeof more !== 'object' || more === null) throw new TypeError("'endpoints' must be an object")
  const endpoints = new Map<unknown, string>(Object.entries({ ...ENDPOINTS, reconnect: 'reconnect', probe: 'probe' }))
  for (const [type, endpoint] of Object.entries(more)) {
    if (endpoints.has(type) || type === 'batch') throw new TypeError(`'endpoints': the type '${type}' is taken`)
    if (typeof endpoint !== 'string' || !/^[A-Za-z0-9_-]+$/.test(endpoint) || TAKEN.includes(endpoint)) {
      throw new TypeError(`'endpoints': '${type}' must name an endpoint of letters, digits, _ and - that is not taken`)
    }
    endpoints.set(type, endpoint)
  }
  return endpoints
}

/**
 * The endpoints of a shared `protocol`, which may name those of built-in types too. @throws
 * TypeError naming the option that says the same twice
 */
export function endpointsOf({ protocol, endpoints }: EndpointOptions): Readonly<Record<string, string>> | undefined {
  if (protocol === undefined) return endpoints
  if (endpoints !== undefined) throw new TypeError("'endpoints' and 'protocol': the protocol has the endpoints")
  checkNames('protocol', protocol, ['endpoints', 'check'])
  if (protocol.check !== undefined) checkFunction('protocol.check', protocol.check)
  const all = Object.entries(protocol.endpoints ?? {})
  return Object.fromEntries(all.filter(([type, endpoint]) => Object(ENDPOINTS)[type] !== endpoint))
}

interface EndpointOptions {
  readonly endpoints?: Readonly<Record<string, string>>
  readonly protocol?: Pick<Protocol, 'endpoints' | 'check'> | undefined
}

interface QueryOptions {
  readonly endpoints?: Readonly<Record<string, string>>
  readonly queries?: readonly string[]
}

/** The types that only ask. @throws TypeError naming the one that is not of the app's own */
export function resolveQueries({ endpoints = {}, queries = [] }: QueryOptions): ReadonlySet<string> {
  if (!Array.isArray(queries)) throw new TypeError("'queries' must be an array of types")
  for (const type of queries) {
    if (!Object.hasOwn(endpoints, type))
      throw new TypeError(`'queries': '${type}' must be a type of 'endpoints', or of your own in 'protocol'`)
  }
  return new Set(queries)
}
