import { type Finding, problemOf } from './finding'
import { exchangesOf, type Host } from './hosts'
import {
  type Exchange,
  isCrossOrigin,
  isFailure,
  isStream,
  isTrustworthy,
  type Observation,
  type Target,
} from './observation'
import { refusalOf } from './refusal'
import { isSameSite } from './site'

type Judge = (observation: Observation, hosts: readonly Host[]) => readonly Finding[]

/** A POST of `{}` that names no stream: each of these says that a chat has read it. */
const READ = [400, 401, 415]

export const judgePost: Judge = ({ target, up, down }, hosts) => {
  if (!up) return []
  if (isFailure(up)) {
    // Nothing more than the GET has said.
    if (down && isFailure(down)) return []
    const seen = `the first POST: ${up.failed}`
    const fix = 'let POSTs pass to the server, whole: no proxy may wait for more than their body'
    return [{ topic: 'post', level: 'problem', seen, expected: 'an answer', fix }]
  }
  const { request, status } = up
  const isAccepted = status >= 200 && status < 300 && !/^\s*</.test(up.text)
  // Only a stream that was open can have been named.
  const isOpen = down !== undefined && !isFailure(down) && isStream(down) && down.probes.length > 0
  const isRead = !isOpen && READ.includes(status) && /json/i.test(up.headers.get('content-type') ?? '')
  if (isAccepted || isRead) return [{ topic: 'post', level: 'ok', seen: `${request} is answered ${status}` }]
  if (down && !isFailure(down) && !isStream(down) && down.status === status) return []
  return [refusalOf(up, { topic: 'post', target, hosts })]
}

/** A browser's verdict on a page of another origin. */
export const judgeCors: Judge = ({ target, preflight, down }) => {
  // Where nothing answers, `stream` says so.
  if (!isCrossOrigin(target) || (down && isFailure(down) && preflight && isFailure(preflight))) return []
  const findings: Finding[] = []
  if (preflight) findings.push(...judgePreflight(preflight, target))
  const opened = down && !isFailure(down) ? (isStream(down) ? down.opened : down) : undefined
  if (opened && opened.status < 300) {
    const lack = originLack(opened, target)
    if (lack) findings.push({ topic: 'cors', level: 'problem', ...lack, fix: listed(target) })
  }
  if (findings.length > 0) return findings
  if (!preflight) return []
  // Whether cookies are meant is not known without one.
  const isBare = [preflight, opened].some(
    (answer) => answer && !isFailure(answer) && originLack(answer, { ...target, hasCookie: true }),
  )
  const how = isBare ? ', without cookies: --cookie says what they would need' : ''
  return [{ topic: 'cors', level: 'ok', seen: `pages of ${target.page} may call${how}` }]
}

const listed = ({ page }: Target) =>
  `\`allowedOrigins: ['${page}']\` in the server half, and no proxy or middleware that answers OPTIONS itself or adds these headers once more`

function judgePreflight(preflight: Exchange | { failed: string }, target: Target): readonly Finding[] {
  const problem = (seen: string, expected: string, fix = listed(target)): Finding => ({
    topic: 'cors',
    level: 'problem',
    seen,
    expected,
    fix,
  })
  if (isFailure(preflight)) return [problem(`the preflight: ${preflight.failed}`, 'a 2xx')]
  const { request, status, headers } = preflight
  if (status < 200 || status >= 300) {
    const fix = `${listed(target)}; nothing may ask a preflight for credentials, as it has none`
    return [problem(`${request}, the preflight, is answered ${status}`, 'a 2xx', fix)]
  }
  const lack = originLack(preflight, target)
  if (lack) return [problem(lack.seen, lack.expected)]
  const allowed = headers.get('access-control-allow-headers') ?? ''
  const names = allowed.toLowerCase().split(/\s*,\s*/)
  // [spec] Fetch: `*` stands for no name where there are credentials, and never for Authorization.
  const isAny = names.includes('*') && !target.hasCookie
  const refused = asked(target).filter((name) => !names.includes(name) && !(isAny && name !== 'authorization'))
  if (refused.length === 0) return []
  const fix = `\`allowedHeaders: [${refused.map((name) => `'${name}'`).join(', ')}]\` in the server half, or in what answers the preflight`
  return [problem(`the preflight allows ${allowed || 'no headers'}`, `also ${refused.join(', ')}`, fix)]
}

/** The headers of a POST that a browser asks about. */
export const asked = ({ headerNames }: Target): readonly string[] => [
  ...new Set([
    'content-type',
    'idempotency-key',
    'x-connection-id',
    'x-lane',
    ...headerNames.map((name) => name.toLowerCase()),
  ]),
]

function originLack({ request, headers }: Exchange, { page, hasCookie }: Target) {
  const allowed = headers.get('access-control-allow-origin')
  if (allowed !== page && !(allowed === '*' && !hasCookie)) {
    const seen = `${request} has ${allowed === null ? 'no `Access-Control-Allow-Origin`' : `\`Access-Control-Allow-Origin: ${allowed}\``}`
    return { seen, expected: `\`${page}\`${hasCookie ? '' : ' or `*`'}, once` }
  }
  if (!hasCookie || headers.get('access-control-allow-credentials') === 'true') return undefined
  return { seen: `${request} has no \`Access-Control-Allow-Credentials\``, expected: '`true`, because of the cookie' }
}

export const judgeCookies: Judge = (observation) => {
  const { target } = observation
  const cookies = exchangesOf(observation).flatMap(({ headers }) => headers.getSetCookie())
  const byName = new Map(cookies.map((cookie) => [cookie.split('=')[0] ?? '', cookie]))
  const findings = [...byName].flatMap(([name, cookie]) => judgeCookie(name, cookie, target))
  if (findings.length > 0) return findings
  const isForeign = isCrossOrigin(target) && !isSameSite(target.url, new URL(target.page))
  if (!target.hasCookie || !isForeign) return []
  const seen = `a cookie is needed, and ${target.page} is another site`
  const expected = '`SameSite=None; Secure`, or browsers do not send it'
  return [{ topic: 'cookies', level: 'advice', seen, expected, fix: 'set it so, or send a token in a header' }]
}

function judgeCookie(name: string, cookie: string, target: Target): readonly Finding[] {
  const isSecure = /;\s*secure\s*(;|$)/i.test(cookie)
  const [, sameSite = ''] = /;\s*samesite=(\w+)/i.exec(cookie) ?? []
  const isForeign = isCrossOrigin(target) && !isSameSite(target.url, new URL(target.page))
  const problem = (seen: string, expected: string, fix: string) => [
    problemOf('cookies', `the cookie ${name} ${seen}`, expected, fix),
  ]
  const [, domain] = /;\s*domain=\.?([^;\s]+)/i.exec(cookie) ?? []
  const { hostname } = target.url
  if (domain && !`.${hostname}`.endsWith(`.${domain.toLowerCase()}`))
    return problem(`has \`Domain=${domain}\``, `${hostname}, or a domain above it: browsers drop it`, 'no `Domain`')
  if (/^none$/i.test(sameSite) && !isSecure)
    return problem('has `SameSite=None` without `Secure`', 'both: browsers drop it', 'add `Secure`')
  if (isForeign && !/^none$/i.test(sameSite))
    return problem(
      `has ${sameSite ? `\`SameSite=${sameSite}\`` : 'no `SameSite`, which is `Lax`'}, and ${target.page} is another site`,
      '`SameSite=None; Secure`: browsers do not send it else',
      'set it so, or send a token in a header',
    )
  if (isSecure && !isTrustworthy(target.url))
    return problem('is `Secure`, and the URL is http:', 'https:: browsers drop it', 'serve it over https:')
  if (isSecure || target.url.protocol === 'http:') return []
  const seen = `the cookie ${name} has no \`Secure\``
  return [
    { topic: 'cookies', level: 'advice', seen, expected: 'it', fix: 'add `Secure`: any http: request carries it else' },
  ]
}
