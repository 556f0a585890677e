import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, LANE_HEADER } from '../../protocol'
import { Misconfiguration } from '../errors'

export interface OriginOptions {
  readonly allowedOrigins: readonly string[] | undefined
  readonly allowedHosts: readonly string[] | 'any' | undefined
  readonly allowedHeaders: readonly string[]
  readonly trustProxy: boolean
}

const HEADERS = ['Content-Type', CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, LANE_HEADER, 'Authorization']

/** Which pages may call, and under which names of this server. Requests without an `Origin` come from no page, or from its own. */
export function createOrigins({ allowedOrigins, allowedHosts, allowedHeaders, trustProxy }: OriginOptions) {
  const origins = allowedOrigins && new Set(allowedOrigins.map(normal))
  const hosts = Array.isArray(allowedHosts) ? new Set(allowedHosts.map((host) => host.toLowerCase())) : undefined
  let isToBeWarned = !origins && allowedHosts === undefined
  const headers = [...HEADERS, ...allowedHeaders].join(', ')

  /** The host that the browser called, as far as can be seen from here. */
  const hostOf = (request: Request) =>
    forwardedHost(request) ?? request.headers.get('Host') ?? new URL(request.url).host
  const forwardedHost = ({ headers }: Request) =>
    (trustProxy && headers.get('X-Forwarded-Host')?.split(',')[0]?.trim()) || undefined

  function checkHost(request: Request) {
    const host = hostOf(request)
    const name = host.toLowerCase().replace(/:\d*$/, '')
    if (hosts && !hosts.has(name)) {
      throw new Misconfiguration(
        403,
        'host',
        `Host ${brief(host)} is not in allowedHosts; list it there if it is yours`,
      )
    }
    if (isToBeWarned && !isLoopback(name)) {
      isToBeWarned = false
      console.warn(
        `holdline: this server answers under any name, ${brief(host)} for one, so a page whose own name was pointed at it counts as ` +
          `its own (DNS rebinding); give allowedHosts: ['${brief(name)}'], or allowedHosts: 'any' if that is meant`,
      )
    }
  }

  function isSameOrigin(origin: string, request: Request): boolean {
    // The browser's own word, which no page can set. It holds behind every proxy; it is not sent to http: addresses of a network.
    const site = request.headers.get('Sec-Fetch-Site')
    if (site === 'same-origin' || site === 'none') return true
    if (site === 'same-site' || site === 'cross-site') return false
    const scheme = schemeOf(request)
    if (scheme && !origin.toLowerCase().startsWith(`${scheme}://`)) return false
    const seen = [request.headers.get('Host'), new URL(request.url).host, forwardedHost(request)]
    return seen.some((host) => host && isAt(host, origin))
  }

  /** The scheme that the browser used; `undefined` for a plain request that may have come through a proxy that ends TLS. */
  function schemeOf({ url, headers }: Request): string | undefined {
    const forwarded = trustProxy && headers.get('X-Forwarded-Proto')?.split(',')[0]?.trim().toLowerCase()
    return forwarded || (url.startsWith('https:') ? 'https' : undefined)
  }

  return {
    /** @throws Misconfiguration 403, which names what was seen and what was expected */
    check(request: Request): void {
      checkHost(request)
      const origin = request.headers.get('Origin')
      if (origin === null) return
      if (origins) {
        if (origins.has(normal(origin))) return
        throw new Misconfiguration(403, 'origin', `Origin ${brief(origin)} is not in allowedOrigins; list it there`)
      }
      if (isSameOrigin(origin, request)) return
      const own = `${schemeOf(request) ?? 'http'}://${hostOf(request)}`
      throw new Misconfiguration(
        403,
        'origin',
        `Origin ${brief(origin)} is not ${brief(own)}; list it in allowedOrigins or, if a proxy stands between, let it pass on the ` +
          "browser's Host (or X-Forwarded-Host, with trustProxy)",
      )
    },

    /** Nothing is allowed, unless the origin is on the list. */
    corsHeaders(request: Request): Readonly<Record<string, string>> {
      if (!origins) return {}
      const origin = request.headers.get('Origin')
      // A cache must not hand what one origin was answered to another.
      if (origin === null || !origins.has(normal(origin))) return { Vary: 'Origin' }
      return {
        'Access-Control-Allow-Origin': origin,
        'Access-Control-Allow-Credentials': 'true',
        'Access-Control-Allow-Methods': 'GET, POST',
        'Access-Control-Allow-Headers': headers,
        // [spec] a cross-origin page sees no response header but a safelisted few, and Retry-After is not one of them.
        'Access-Control-Expose-Headers': 'Retry-After',
        Vary: 'Origin',
      }
    },
  }
}

export type Origins = ReturnType<typeof createOrigins>

/** Case and default ports say nothing. */
const normal = (origin: string) => origin.toLowerCase().replace(/^(http:.*):80$|^(https:.*):443$/, '$1$2')

/** The host alone: the scheme is compared before, where it is known. */
function isAt(host: string, origin: string): boolean {
  const [, scheme] = /^(https?:\/\/)/i.exec(origin) ?? []
  return scheme !== undefined && normal(scheme + host) === normal(origin)
}

const isLoopback = (name: string) => /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(name)

/** A client may say anything. */
const brief = (text: string) => (text.length > 100 ? `${text.slice(0, 100)}…` : text)

// Checks of the app's options

export function checkOrigins(origins: unknown) {
  checkList('allowedOrigins', origins, /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/i, "origins like 'https://app.example'")
}

export function checkHosts(hosts: unknown) {
  checkList('allowedHosts', hosts, /^([^/?#\s:@]+|\[[0-9a-f:.]+\])$/i, "names like 'chat.example', without a port")
}

export function checkHeaders(headers: unknown) {
  checkList('allowedHeaders', headers, /^[a-z0-9!#$%&'+.^_`|~-]+$/i, "header names like 'traceparent'")
}

function checkList(name: string, list: unknown, form: RegExp, what: string) {
  if (!Array.isArray(list)) throw new TypeError(`'${name}' must be an array`)
  for (const entry of list) {
    if (typeof entry === 'string' && form.test(entry)) continue
    throw new TypeError(`'${name}' must hold ${what}, not ${JSON.stringify(entry)}`)
  }
}
