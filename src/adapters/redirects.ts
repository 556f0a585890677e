import { ConnectionError } from '../errors'
import { codeOf } from '../protocol/status'
import { discard } from './answer'

const MAX_HOPS = 5

/**
 * `told`: by a `Location`; `hidden`: a browser does not tell where to; `followed`: by a `fetch`
 * that does not know `redirect: 'manual'`.
 */
type Redirect = 'none' | 'told' | 'hidden' | 'followed'

/**
 * Redirects are followed by hand: `fetch` makes a POST a GET after a 301, 302 or 303, and carries
 * all but the cookies to any origin.
 *
 * | redirect | a GET | a POST |
 * | --- | --- | --- |
 * | to another origin | fails as `redirected` | fails as `redirected` |
 * | `told` | is followed, five times at most | is followed after a 307 or 308, else fails |
 * | `hidden` | a request without anything secret finds the target, which is then asked | the same, if the target ends with the endpoint (a login page does not); later POSTs go there at once |
 * | `followed` | its answer counts | its answer counts, if the final URL ends with the endpoint |
 */
export class Redirects {
  readonly #url: string
  readonly #fetch: typeof fetch
  readonly #origin: string
  /** The targets of hidden redirects of POSTs, by the URL that was asked first. */
  readonly #moved = new Map<string, string>()

  constructor(url: string, fetch: typeof globalThis.fetch) {
    this.#url = url
    this.#fetch = fetch
    this.#origin = `${/^\w+:\/\/[^/]*/.exec(url)}/`
  }

  /** Where a POST to this URL goes. */
  targetOf(start: string): string {
    return this.#moved.get(start) ?? start
  }

  /**
   * Performs a request, and follows its redirects. `probe` asks for the same without anything
   * secret; it has a `method` if it is a POST.
   */
  async follow(start: string, probe: RequestInit, perform: (target: string) => Promise<Response>): Promise<Response> {
    const { method } = probe
    let target = this.targetOf(start)
    for (let hops = 0; ; hops++) {
      const response = await perform(target)
      const { status, type, redirected, url } = response
      const location = codeOf(status) === 'redirected' && response.headers.get('location')
      const redirect: Redirect = location
        ? 'told'
        : type === 'opaqueredirect'
          ? 'hidden'
          : // A `fetch` of the app's own may tell the final URL, and not whether it is another one.
            (redirected ?? url)
            ? 'followed'
            : 'none'
      if (redirect === 'none') return hops ? Object.defineProperty(response, 'redirected', { value: true }) : response
      const to = location
        ? new URL(location, target).href
        : redirect === 'hidden'
          ? await this.#whereTo(target, probe)
          : url
      const [address = ''] = to.split(/[?#]/)
      const endpoint = start.slice(this.#url.length)
      // [spec] Fetch: after a 307 or a 308 a POST is still one.
      const mayFollow = location
        ? (!method || status > 306) && hops < MAX_HOPS
        : !hops && (!method || address.replace(/\/$/, '').endsWith(endpoint))
      const isAllowed = mayFollow && address.startsWith(this.#origin)
      if (isAllowed && redirect === 'followed') return response
      discard(response)
      if (!isAllowed) {
        const why = `${method ?? 'GET'} ${endpoint.slice(1)}: redirected to ${address || 'another origin'}; log in, or correct \`url\``
        throw new ConnectionError('redirected', why, { status: location ? status : undefined })
      }
      // A stream is redirected anew each time: today's target may be a login page, and no stream
      // once the user has logged in.
      if (redirect === 'hidden' && method) this.#moved.set(start, to)
      target = to
    }
  }

  /**
   * Where a page is redirected to; empty if that is not told. [spec] Fetch: it is told only after
   * the redirect was followed.
   */
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
