import { parse } from 'hono/utils/cookie'
import { type ChatHost, COOKIE } from './chat'
import type { Visitors } from './guard'

/** A chat server that is not ours. */
export interface ForeignServer {
  /** Its base URL, once it answers. */
  readonly url: Promise<string>
  /** Ends it, where it is the demo's to end. */
  close(): Promise<void>
}

/** Of one connection, so not for the next one. */
const HOPS = ['host', 'connection', 'content-length', 'transfer-encoding', 'keep-alive', 'upgrade']
/**
 * The demo has judged these. The server is told the visitor by a header, and not by a page's
 * cookie.
 */
const JUDGED = ['origin', 'cookie', 'sec-fetch-site', 'sec-fetch-mode', 'sec-fetch-dest']

/** Stands where the demo's own chat would, and hands each request on. */
export class ForeignChat implements ChatHost {
  readonly #server: ForeignServer
  readonly #visitors: Visitors

  constructor(server: ForeignServer, visitors: Visitors) {
    this.#server = server
    this.#visitors = visitors
    server.url.catch((error: unknown) => console.error(error))
  }

  async fetch(request: Request): Promise<Response> {
    const visitor = this.#visitors.idOf(parse(request.headers.get('Cookie') ?? '', COOKIE)[COOKIE])
    if (visitor === undefined) return Response.json({ error: 'unauthorized' }, { status: 401 })
    const { method, signal } = request
    const headers = without(request.headers, [...HOPS, ...JUDGED])
    headers.set('Authorization', `Bearer ${visitor}`)
    const body = method === 'POST' ? await request.arrayBuffer() : null
    try {
      const url = `${await this.#server.url}/${endpointOf(request)}`
      const answer = await fetch(url, { method, headers, body, signal, redirect: 'manual' })
      return new Response(answer.body, { status: answer.status, headers: without(answer.headers, HOPS) })
    } catch {
      const message = 'the server behind the demo does not answer'
      return Response.json({ error: 'unavailable', message }, { status: 503, headers: { 'Retry-After': '1' } })
    }
  }

  close(): Promise<void> {
    return this.#server.close()
  }
}

/** `events?ask`: each line of a page has a path of its own, which is the demo's affair. */
function endpointOf({ url }: Request): string {
  const { pathname, search } = new URL(url)
  return `${pathname.split('/').pop()}${search}`
}

function without(headers: Headers, names: readonly string[]): Headers {
  const rest = new Headers(headers)
  for (const name of names) rest.delete(name)
  return rest
}
