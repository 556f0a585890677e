import { isObject, isText, parseJson } from '../../protocol'
import type { Finding } from './finding'
import { fixOf } from './fixes'
import type { Host } from './hosts'
import type { Exchange, Target } from './observation'

/** Longest text of an answer that is quoted, characters. */
const QUOTED = 160

const brief = (text: string) => {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > QUOTED ? `${line.slice(0, QUOTED)}…` : line
}

export interface Case {
  readonly topic: 'stream' | 'post'
  readonly target: Target
  readonly hosts: readonly Host[]
}

const isHtml = ({ headers, text }: Exchange) =>
  /^text\/html/i.test(headers.get('content-type') ?? '') || /^\s*<(!doctype|html)/i.test(text)

/** The finding for an answer that is not the one that was to come. */
export function refusalOf(exchange: Exchange, given: Case): Finding {
  const { topic } = given
  const { request, status, headers, text } = exchange
  const type = headers.get('content-type') ?? 'no Content-Type'
  const seen = `${request} is answered ${status} (${type}) ${brief(text)}`.trim()
  const [expected, fix] = remedyOf(exchange, given)
  return { topic, level: 'problem', seen, expected, fix }
}

/** The right answer, and what to do. */
function remedyOf(exchange: Exchange, { topic, target, hosts }: Case): readonly [expected: string, fix: string] {
  const { status } = exchange
  const right = topic === 'stream' ? '200 with `Content-Type: text/event-stream`' : 'an answer of the chat, in JSON'
  if (status < 300 && isHtml(exchange))
    return [right, `a page was served in its place: ${fixOf('route', hosts)}; if it is a login page, ${LOGGED_OUT}`]
  if (status === 204) return [right, '204 tells every client to stay away: answer it for a user who is to stop alone']
  if (status < 300) return [right, 'answer with a stream there, or give the base URL of the chat']
  if (status < 400) return [right, 'the redirect has to go: see `redirect`']
  if (status === 401) return ['the credentials of a user', credentials(target)]
  if (status === 403) return forbidden(exchange, { target, hosts })
  if (status === 404 && codeOf(exchange) === 'unknown-stream') return [right, STRANGER]
  if (status === 404 || status === 405)
    return [right, `give the base URL of the chat, or serve it there: ${fixOf('route', hosts)}`]
  if (status === 415) return [right, 'let the server, and what is before it, take `Content-Type: application/json`']
  if (status === 429) return [right, 'wait, or let this user have more streams or a higher rate']
  if (status === 503 && codeOf(exchange))
    return [right, 'the server says itself that it is closing, or overloaded: wait']
  // Vite says no more where it does not reach its target.
  const isVites = status === 500 && exchange.text === '' && hosts.includes('Vite')
  if (isVites || (status >= 502 && status <= 504)) return [right, fixOf('gateway', hosts)]
  if (status >= 500) return [right, 'the log of the server has the error']
  return [right, 'give the base URL of the chat, with the headers that it asks for']
}

/** Where a page asks for a login. */
export const LOGGED_OUT = 'answer 401 in its place, and give this command the --cookie or --header of a user'

const STRANGER =
  'the POST came to a process that does not know the stream: let all of them share a log (`redisLog`), or route a client to one of them (sticky sessions)'

const credentials = ({ hasCookie, headerNames }: Target) =>
  hasCookie || headerNames.length > 0
    ? 'give valid ones: what --header and --cookie gave was not taken, or a proxy has removed it'
    : "give them with --header 'Authorization: …' or --cookie '…'"

function forbidden(exchange: Exchange, { target, hosts }: Pick<Case, 'target' | 'hosts'>): readonly [string, string] {
  const code = codeOf(exchange)
  if (code === 'origin') return [`pages of ${target.page} to be let in`, fixOf('origin', hosts)]
  if (code === 'host') return [`${target.url.hostname} to be a name of the server`, 'list it in `allowedHosts`']
  if (code) return ['a user who may do that', "the credentials of one, or the server's `authorize`"]
  return [
    'a refusal of the chat, in JSON',
    'a firewall, a rule of a proxy or a check against CSRF has answered: let the paths of the chat pass',
  ]
}

/** The `error` of a refusal in JSON. */
function codeOf({ text }: Exchange): string | undefined {
  const json = parseJson(text)
  return isObject(json) && isText(json.error) ? json.error : undefined
}
