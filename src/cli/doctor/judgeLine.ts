import { type Finding, ms } from './finding'
import { fixOf } from './fixes'
import { exchangesOf, type Host } from './hosts'
import { type Failure, type Hop, isFailure, isTrustworthy, type Observation, type Target } from './observation'

/** Where nothing takes a connection. */
export const AWAY = {
  expected: 'a server',
  fix: 'start the server, and look whether the port is that of it and a firewall lets it pass',
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
    if (tls && !isFailure(tls) && exchangesOf(observation).length === 0) {
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
    const fix = 'let the host listen with TLS on that port'
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
  return hops.map((hop) => judgeHop(hop, target))
}

function judgeHop({ method, status, from, to }: Hop, { url }: Target): Finding {
  const seen = `${method} ${from} is redirected by a ${status} to ${to}`
  const isOwn = URL.canParse(to, url) && new URL(to, url).origin === url.origin
  if (!isOwn) {
    const fix = /login|signin|auth|sso/i.test(to)
      ? 'answer 401 in the place of the login page, and give this command the `--cookie` of a user'
      : 'give the URL that it leads to'
    return { topic: 'redirect', level: 'problem', seen, expected: 'no redirect to another origin', fix }
  }
  if (method === 'POST' && status < 307) {
    const expected = '307 or 308, which keep the POST and its body'
    return { topic: 'redirect', level: 'problem', seen, expected, fix: 'give the URL that it leads to' }
  }
  const fix = 'no rule about slashes or names for the paths of the chat (Next: `trailingSlash`)'
  return { topic: 'redirect', level: 'advice', seen, expected: 'an answer without a detour', fix }
}
