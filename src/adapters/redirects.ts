import { ConnectionError } from '../errors'
import { codeOf } from '../protocol/status'
import { discard } from './answer'

const MAX_HOPS = 5

/**
 * Redirects are followed by hand: `fetch` makes a POST a GET after a 301, 302 or 303, and carries all but the cookies to any origin.
 * Never to another origin, and a POST only where it stays one.
 */
export class Redirects {
  readonly #url: string
  readonly #fetch: typeof fetch
  readonly #origin: string
  /** POSTs whose redirect was hidden: where from, and to. */
  readonly #moved = new Map<string, string>()

  constructor(url: string, fetch: typeof globalThis.fetch) {
    this.#url = url
    this.#fetch = fetch
    this.#origin = `${/^\w+:\/\/[^/]*/.exec(url)}/`
  }

  /** Where a POST to this URL goes. */
  placeOf(start: string): string {
    return this.#moved.get(start) ?? start
  }

  /**
   * Performs a request. Where the status is not seen, a target of a POST counts that ends with the endpoint: a login page does not.
   * `probe` asks for the same without anything secret.
   */
  async follow(start: string, probe: RequestInit, perform: (target: string) => Promise<Response>): Promise<Response> {
    const { method } = probe
    let target = this.placeOf(start)
    for (let hops = 0; ; hops++) {
      const response = await perform(target)
      const { status, type, redirected, url: followed } = response
      const location = codeOf(status) === 'redirected' && response.headers.get('location')
      const isHidden = type === 'opaqueredirect'
      // Not every `fetch` of an app's own obeys `redirect`, nor tells that it has followed one.
      if (!location && !isHidden && !(redirected ?? followed))
        return hops ? Object.defineProperty(response, 'redirected', { value: true }) : response
      const seen = location ? new URL(location, target).href : isHidden ? await this.#whereTo(target, probe) : followed
      const [place = ''] = seen.split(/[?#]/)
      const endpoint = start.slice(this.#url.length)
      // [spec] Fetch: after a 307 or a 308 a POST is still one.
      const isFit = location
        ? (!method || status > 306) && hops < MAX_HOPS
        : !hops && (!method || place.replace(/\/$/, '').endsWith(endpoint))
      const isOurs = isFit && place.startsWith(this.#origin)
      if (isOurs && !location && !isHidden) return response
      discard(response)
      if (!isOurs) {
        const why = `${method ?? 'GET'} ${endpoint.slice(1)}: redirected to ${place || 'another origin'}; log in, or correct \`url\``
        throw new ConnectionError('redirected', why, { status: location ? status : undefined })
      }
      // Of a stream it may be a login page, which is the place of none once somebody has logged in.
      if (isHidden && method) this.#moved.set(start, seen)
      target = seen
    }
  }

  /** Where a page is redirected to. [spec] Fetch: it is told that only after the redirect was followed. */
  async #whereTo(target: string, init: RequestInit): Promise<string> {
    // [spec] A browser's `fetch` is called on nothing but its window.
    const fetch = this.#fetch
    try {
      const answer = await fetch(target, { ...init, credentials: 'omit' })
      discard(answer)
      return answer.url
    } catch {
      return ''
    }
  }
}
