import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, LANE_HEADER } from '../../protocol'
import { Misconfiguration } from '../errors'

export interface OriginOptions {
  readonly allowedOrigins: readonly string[] | undefined
  readonly allowedHosts: readonly string[] | 'any' | undefined
  readonly allowedHeaders: readonly string[]
  readonly trustProxy: boolean
}

const HEADERS = ['Content-Type', CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, LANE_HEADER, 'Authorization']

/**
 * Which pages may call, and under which names of this server. Requests without an `Origin` come
 * from no page, or from its own.
 */
export class Origins {
  readonly #origins: ReadonlySet<string> | undefined
  readonly #hosts: ReadonlySet<string> | undefined
  readonly #headers: string
  readonly #trustProxy: boolean
  #isToBeWarned: boolean

  constructor({ allowedOrigins, allowedHosts, allowedHeaders, trustProxy }: OriginOptions) {
    this.#origins = allowedOrigins && new Set(allowedOrigins.map(normal))
    this.#hosts = Array.isArray(allowedHosts) ? new Set(allowedHosts.map((host) => host.toLowerCase())) : undefined
    this.#headers = [...HEADERS, ...allowedHeaders].join(', ')
    this.#trustProxy = trustProxy
    this.#isToBeWarned = !allowedOrigins && allowedHosts === undefined
  }

  /** @throws Misconfiguration 403, which names what was seen and what was expected */
  check(request: Request): void {
    this.#checkHost(request)
    const origin = request.headers.get('Origin')
    if (origin === null) return
    if (this.#origins) {
      if (this.#origins.has(normal(origin))) return
      throw new Misconfiguration(403, 'origin', `Origin ${brief(origin)} is not in allowedOrigins; list it there`)
    }
    if (this.#isSameOrigin(origin, request)) return
    const own = `${this.#schemeOf(request) ?? 'http'}://${this.#hostOf(request)}`
    throw new Misconfiguration(
      403,
      'origin',
      `Origin ${brief(origin)} is not ${brief(own)}; list it in allowedOrigins or, if a proxy stands between, let it pass on the ` +
        "browser's Host (or X-Forwarded-Host, with trustProxy)",
    )
  }

  /** Nothing is allowed, unless the origin is on the list. */
  corsHeaders(request: Request): Readonly<Record<string, string>> {
    if (!this.#origins) return {}
    const origin = request.headers.get('Origin')
    // A cache must not hand what one origin was answered to another.
    if (origin === null || !this.#origins.has(normal(origin))) return { Vary: 'Origin' }
    return {
      'Access-Control-Allow-Origin': origin,
      'Access-Control-Allow-Credentials': 'true',
      'Access-Control-Allow-Methods': 'GET, POST',
      'Access-Control-Allow-Headers': this.#headers,
      // [spec] a cross-origin page sees no response header but a safelisted few; these are not
      // among them. A Retry-After that is a date is read against Date.
      'Access-Control-Expose-Headers': 'Retry-After, Date',
      Vary: 'Origin',
    }
  }

  #checkHost(request: Request) {
    const host = this.#hostOf(request)
    const name = host.toLowerCase().replace(/:\d*$/, '')
    if (this.#hosts && !this.#hosts.has(name)) {
      const why = `Host ${brief(host)} is not in allowedHosts; list it there if it is yours`
      throw new Misconfiguration(403, 'host', why)
    }
    if (this.#isToBeWarned && !isLoopback(name)) {
      this.#isToBeWarned = false
      console.warn(
        `holdline: this server answers under any name, ${brief(host)} for one, so a page whose own name was pointed at it counts as ` +
          `its own (DNS rebinding); give allowedHosts: ['${brief(name)}'], or allowedHosts: 'any' if that is meant`,
      )
    }
  }

  #isSameOrigin(origin: string, request: Request): boolean {
    // The browser's own word, which no page can set. It holds behind every proxy; it is not sent to
    // http: addresses of a network.
    const site = request.headers.get('Sec-Fetch-Site')
    if (site === 'same-origin' || site === 'none') return true
    if (site === 'same-site' || site === 'cross-site') return false
    const scheme = this.#schemeOf(request)
    if (scheme && !origin.toLowerCase().startsWith(`${scheme}://`)) return false
    const seen = [request.headers.get('Host'), new URL(request.url).host, this.#forwarded(request, 'Host')]
    return seen.some((host) => host && isAt(host, origin))
  }

  /** The host that the browser called, as far as can be seen from here. */
  #hostOf(request: Request): string {
    return this.#forwarded(request, 'Host') ?? request.headers.get('Host') ?? new URL(request.url).host
  }

  /**
   * The scheme that the browser used; `undefined` for a plain request that may have come through a
   * proxy that ends TLS.
   */
  #schemeOf(request: Request): string | undefined {
    const forwarded = this.#forwarded(request, 'Proto')?.toLowerCase()
    return forwarded ?? (request.url.startsWith('https:') ? 'https' : undefined)
  }

  /** The word of the first proxy, where proxies are trusted. */
  #forwarded({ headers }: Request, what: 'Host' | 'Proto'): string | undefined {
    return (this.#trustProxy && headers.get(`X-Forwarded-${what}`)?.split(',')[0]?.trim()) || undefined
  }
}

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
