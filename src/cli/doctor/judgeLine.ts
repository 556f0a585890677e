import { type Finding, ms, problemOf } from './finding'
import { fixOf } from './fixes'
import { exchangesOf, type Host } from './hosts'
import { type Failure, type Hop, isFailure, isTrustworthy, type Observation, type Target } from './observation'
import { LOGGED_OUT } from './refusal'

/** Where nothing takes a connection. */
export const AWAY = {
  expected: 'a server',
  fix: 'start the server, and look whether the port is that of it and a firewall lets it pass',
}
/** … or takes one, and says nothing. */
export function awayFix(failed: string): string {
  if (/bad port/.test(failed)) return 'let the server listen on another port: browsers refuse this one, too'
  if (/other side closed|ECONNRESET/.test(failed))
    return 'something listens there, and closes the connection without an answer: look at its log, and whether it speaks HTTP'
  return AWAY.fix
}

/** The port of an http: URL speaks TLS. */
export const isOtherProtocol = (observation: Observation) => {
  const { target, tls } = observation
  return target.url.protocol === 'http:' && !!tls && !isFailure(tls) && exchangesOf(observation).length === 0
}

const isUnreachable = ({ failed }: Failure) => /^E(CONNREFUSED|HOSTUNREACH|NETUNREACH|TIMEDOUT)$/.test(failed)

/** Days before its end at which a certificate is told of. */
const SOON = 14

export function judgeAddress({ target, address }: Observation): readonly Finding[] {
  const { hostname } = target.url
  if (isFailure(address)) {
    const seen = `${hostname} has no address (${address.failed})`
    const fix = 'correct the name, or its entry in DNS or in /etc/hosts'
    return [{ topic: 'address', level: 'problem', seen, expected: 'a name that resolves', fix }]
  }
  const { addresses, ms: duration } = address
  return [{ topic: 'address', level: 'ok', seen: `${hostname} is ${addresses.join(', ')}, after ${ms(duration)}` }]
}

export function judgeTls(observation: Observation): readonly Finding[] {
  const { target, address, tls } = observation
  const { url } = target
  if (url.protocol === 'http:') {
    if (tls && !isFailure(tls) && isOtherProtocol(observation)) {
      const seen = `the port speaks ${tls.version}, and the URL is http:`
      return [{ topic: 'tls', level: 'problem', seen, expected: 'https:', fix: 'write https: in the URL' }]
    }
    if (isTrustworthy(url) || isFailure(address)) return []
    const seen =
      'http: without TLS, where browsers send no `Sec-Fetch-Site` and anything on the way may hold frames back'
    return [{ topic: 'tls', level: 'advice', seen, expected: 'https:', fix: 'a certificate' }]
  }
  if (!tls) return []
  if (isFailure(tls)) {
    if (isUnreachable(tls))
      return [{ topic: 'tls', level: 'problem', seen: `nothing listens at ${url.host} (${tls.failed})`, ...AWAY }]
    const fix = 'let the host listen with TLS on that port, or write http: in the URL'
    return [{ topic: 'tls', level: 'problem', seen: `no TLS there (${tls.failed})`, expected: 'a handshake', fix }]
  }
  const { version, distrust, days } = tls
  if (distrust !== undefined) {
    const seen = `the certificate is not trusted (${distrust})`
    return [{ topic: 'tls', level: 'problem', seen, expected: 'one that browsers trust', fix: trustOf(distrust, url) }]
  }
  const seen = `${version}, with a certificate for ${days} more days`
  if (days >= SOON) return [{ topic: 'tls', level: 'ok', seen }]
  return [{ topic: 'tls', level: 'advice', seen, expected: `more than ${SOON}`, fix: 'renew it' }]
}

/** What a certificate lacks. */
function trustOf(distrust: string, { hostname }: URL): string {
  if (/ALTNAME/.test(distrust)) return `a certificate that names ${hostname}, or a URL with a name that it has`
  if (/EXPIRED|NOT_YET_VALID/.test(distrust)) return 'renew it, and look whether the clock of this machine is right'
  return 'a certificate of an authority that browsers know; for one of your own, NODE_EXTRA_CA_CERTS=<its file> lets this command go on'
}

export function judgeVersion(observation: Observation, hosts: readonly Host[]): readonly Finding[] {
  const { tls, target } = observation
  if (target.url.protocol === 'https:') {
    if (!tls || isFailure(tls)) return []
    if (tls.http === 'h2') return [{ topic: 'http', level: 'ok', seen: 'HTTP/2: any number of tabs' }]
  } else if (exchangesOf(observation).length === 0) return []
  const seen =
    'HTTP/1.1: a browser opens six connections to an origin, and each tab holds one for its stream, so the seventh waits'
  return [{ topic: 'http', level: 'advice', seen, expected: 'HTTP/2', fix: fixOf('version', hosts) }]
}

export function judgeHops({ hops, target }: Observation): readonly Finding[] {
  // What leads the stream elsewhere leads `?ask` there, too.
  const isTold = ({ from }: Hop) =>
    from.endsWith('?ask') && hops.some((other) => other.method === 'GET' && `${other.from}?ask` === from)
  return hops.filter((hop) => !isTold(hop)).map((hop) => judgeHop(hop, target))
}

const LOGIN = /log-?in|sign-?in|auth|sso/i

function judgeHop({ method, status, from, to }: Hop, { url }: Target): Finding {
  const seen = `${method} ${from} is redirected by a ${status} to ${to}`
  const problem = (expected: string, fix: string) => problemOf('redirect', seen, expected, fix)
  const isOwn = URL.canParse(to, url) && new URL(to, url).origin === url.origin
  if (LOGIN.test(to) && !LOGIN.test(from)) return problem('an answer of the chat, not a login page', LOGGED_OUT)
  const base = baseOf(from, to)
  const fix = base ? `give ${base} as the URL, to the client as well` : SLASHES
  if (!isOwn) return problem('no redirect to another origin', base ? fix : 'give the base URL of the chat itself')
  if (method === 'POST' && status < 307) return problem('307 or 308, which keep the POST and its body', fix)
  return { topic: 'redirect', level: 'advice', seen, expected: 'an answer without a detour', fix }
}

const SLASHES = 'no rule about slashes or names for the paths of the chat (Next: `trailingSlash`)'

/** The base URL to which a redirect of an endpoint leads, unless it is about a slash alone. */
function baseOf(from: string, to: string): string | undefined {
  const [, endpoint = ''] = /([^/?]+)(\?|$)/.exec(from) ?? []
  const path = to.replace(/\?.*$/, '')
  return path.endsWith(`/${endpoint}`) ? path.slice(0, -endpoint.length - 1) : undefined
}
