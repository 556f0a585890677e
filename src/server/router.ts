import { refusalOf, toResponse } from './answer'
import type { Clock } from './clock'
import { Misconfiguration, Refusal } from './errors'
import type { Budget } from './limits/budget'
import { REQUEST_WEIGHT } from './limits/weights'
import type { ResolvedOptions } from './options'
import type { Posts } from './post'
import { discardBody } from './request/body'
import { checkRequest } from './request/checkRequest'
import { checkFetchMetadata } from './request/fetchMetadata'
import type { Origins } from './request/origins'
import type { Principal } from './request/principal'
import type { StreamOpener } from './stream/streamOpener'

export interface RouterOptions<P extends Principal>
  extends Pick<ResolvedOptions<P>, 'typeEndpoints' | 'allowedOrigins' | 'limits' | 'notify' | 'onError'> {
  readonly clock: Clock
  readonly origins: Origins
  readonly opener: StreamOpener<P>
  readonly posts: Posts<P>
  /**
   * The account of requests that are refused. Their bodies come as slowly as their senders like,
   * and must not take the memory of those that are still to be authenticated.
   */
  readonly refused: Budget
  /** @throws Refusal 503 */
  refuseIfClosed(): void
}

const ADAPTERS = 'mount toNodeListener(chat) of holdline/server/node, or pass the Request of your framework'
/** Seconds. Without it a browser asks before nearly every POST. */
const PREFLIGHT_HEADERS = { 'Access-Control-Max-Age': '7200' }

/** Leads each request to what answers it, and refuses what no page or client of ours may ask. */
export class Router<P extends Principal> {
  readonly #options: RouterOptions<P>
  readonly #endpoints: ReadonlySet<string>

  constructor(options: RouterOptions<P>) {
    this.#options = options
    this.#endpoints = new Set([...options.typeEndpoints.values(), 'batch'])
  }

  async fetch(request: Request): Promise<Response> {
    checkRequest('fetch', request, ADAPTERS)
    const response = await this.#route(request).catch((error: unknown) => this.#refuse(request, error))
    const headers = this.#options.origins.corsHeaders(request)
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value)
    return response
  }

  async #route(request: Request): Promise<Response> {
    const { refuseIfClosed, origins, allowedOrigins, opener, posts } = this.#options
    // Wherever it is mounted, and whatever a host adds or leaves of slashes.
    const endpoint = new URL(request.url).pathname.split('/').findLast(Boolean) ?? ''
    const method = endpoint === 'events' ? 'GET' : 'POST'
    refuseIfClosed()
    // Not 404 for a POST: to a client that means that its stream is unknown, and it would open
    // another, for ever.
    if (method === 'POST' && !this.#endpoints.has(endpoint)) {
      throw request.method === 'POST' ? this.#unknown(endpoint) : new Refusal(404, 'not-found')
    }
    origins.check(request)
    if (request.method === 'GET') checkFetchMetadata(request, allowedOrigins !== undefined)
    if (request.method === 'OPTIONS' && allowedOrigins)
      return new Response(null, { status: 204, headers: PREFLIGHT_HEADERS })
    if (request.method !== method) throw new Refusal(405, 'method-not-allowed', { Allow: method })
    return method === 'GET' ? opener.take(request) : posts.take(request, endpoint)
  }

  /** A type that the client knows, and this server does not. */
  #unknown(endpoint: string): Refusal {
    const there = [...this.#endpoints].join(', ')
    return new Refusal(
      400,
      'unknown-endpoint',
      {},
      `'${endpoint.slice(0, 64)}' is no endpoint here; there are ${there}`,
    )
  }

  async #refuse(request: Request, error: unknown): Promise<Response> {
    const { notify, onError, refused, limits, clock } = this.#options
    if (error instanceof Misconfiguration) notify(error.code, error.message)
    const answer = refusalOf(error, onError)
    if (refused.take(REQUEST_WEIGHT)) {
      await discardBody(request, limits.bodyTimeout, clock)
      refused.give(REQUEST_WEIGHT)
    } else request.body?.cancel().catch(() => {})
    return toResponse(answer)
  }
}
