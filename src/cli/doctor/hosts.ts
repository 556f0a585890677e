import { type Exchange, isFailure, isStream, type Observation } from './observation'

/** Hosts and proxies whose fixes are known, the nearest to the client first. */
export const HOSTS = ['nginx', 'Apache', 'HAProxy', 'Caddy', 'Vite', 'Next', 'Express'] as const
export type Host = (typeof HOSTS)[number]

/** How each tells of itself in `Server`, `Via` and `X-Powered-By`. */
const BY_HEADER: readonly (readonly [Host, RegExp])[] = [
  ['nginx', /nginx|openresty/i],
  ['Apache', /apache(?!-coyote)/i],
  ['HAProxy', /haproxy/i],
  ['Caddy', /caddy/i],
  ['Next', /next\.js/i],
  ['Express', /express/i],
]
/** … and in its answer to what is no HTTP. Each has a page of its own for that. */
const BY_BLUNDER: readonly (readonly [Host, RegExp])[] = [
  ['nginx', /<center>(nginx|openresty)/i],
  ['Apache', /this server could not understand/i],
  ['HAProxy', /<h1>400 Bad request<\/h1>\s*Your browser sent an invalid request\./i],
]

/** Those that show themselves. */
export function hostsOf(observation: Observation): readonly Host[] {
  const { blunder = '', hasViteClient = false } = observation
  const names = exchangesOf(observation).flatMap(namesIn).join('\n')
  const isSeen = (host: Host) =>
    (host === 'Vite' && hasViteClient) ||
    BY_HEADER.some(([name, sign]) => name === host && sign.test(names)) ||
    BY_BLUNDER.some(([name, sign]) => name === host && sign.test(blunder))
  return HOSTS.filter(isSeen)
}

/** All answers that were seen. */
export function exchangesOf({ ask, preflight, down, up }: Observation): readonly Exchange[] {
  return [ask, preflight, down, up].flatMap((outcome) => {
    if (!outcome || isFailure(outcome)) return []
    return [isStream(outcome) ? outcome.opened : outcome]
  })
}

export const namesIn = ({ headers }: Pick<Exchange, 'headers'>) =>
  ['Server', 'Via', 'X-Powered-By'].flatMap((name) => headers.get(name) ?? [])
