import { isObject, isText, type JsonObject } from '../../protocol'
import { checkFunction, checkNames, checkNumber, MAX_TIMER } from '../../server/check'
import type { ServerContractOptions } from './case'

const OPTIONS = ['url', 'send', 'endpoint', 'events', 'headers', 'secondUser', 'goodbye', 'timeout', 'fetch']
const SEND: JsonObject = { type: 'send', sessionId: '{session}', prompt: '{text}' }

/** The options with their defaults. @throws TypeError naming the one that is invalid or unknown */
export function resolveOptions(options: ServerContractOptions) {
  checkNames('serverContract', options, OPTIONS)
  const { url, send = SEND, endpoint, events, timeout = 5_000, goodbye, fetch = globalThis.fetch } = options
  if (!isText(url) || !/^https?:\/\/[^/?#]+[^?#]*$/i.test(url))
    throw new TypeError("'url' must be the base URL of the endpoints, such as 'http://127.0.0.1:3000/api/chat'")
  if (!isObject(send) || !isText(send.type)) throw new TypeError("'send' must be a message, an object with a 'type'")
  if (endpoint !== undefined && !(isText(endpoint) && endpoint)) throw new TypeError("'endpoint' must be a name")
  if (events !== undefined) checkNumber('events', events, { integer: true })
  checkNumber('timeout', timeout, { max: MAX_TIMER })
  checkFunction('fetch', fetch)
  if (goodbye !== undefined) checkFunction('goodbye', goodbye)
  for (const name of ['headers', 'secondUser'] as const) checkHeaders(name, options[name])
  return { ...options, send, events, timeout, fetch }
}

function checkHeaders(name: string, headers: unknown) {
  if (headers === undefined || (isObject(headers) && Object.values(headers).every(isText))) return
  throw new TypeError(`'${name}' must be an object of header names and texts`)
}
