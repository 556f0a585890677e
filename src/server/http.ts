import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, isObject, type JsonObject } from '../protocol'
import type { Answer } from './cluster'

/** An answer other than success. `code` is all that the client is told. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(code)
  }
}

/** To a client: open another stream. */
export const unknownStream = () => new Refusal(404, 'unknown-stream')
/** Also what a log rejects with that has told why. */
export const unavailable = () => new Refusal(503, 'unavailable', { 'Retry-After': '1' })
export const tooMany = () => new Refusal(429, 'too-many', { 'Retry-After': '5' })

/** What a client is told of an error: nothing, if it was not meant for it. */
export function refusalOf(error: unknown, onError: (error: unknown) => void): Answer {
  if (error instanceof Refusal) {
    return { status: error.status, json: JSON.stringify({ error: error.code }), headers: error.headers }
  }
  onError(error)
  return { status: 500, json: '{"error":"internal"}' }
}

export const jsonResponse = (status: number, json: string, headers: Readonly<Record<string, string>> = {}) =>
  new Response(json, {
    status,
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...headers },
  })

/** The request's body as a JSON object; everything else is refused: 415, 413 or 400. */
export async function readMessage(request: Request, maxBytes: number): Promise<JsonObject> {
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get('Content-Type') ?? '')) {
    throw new Refusal(415, 'unsupported-media-type')
  }
  if (Number(request.headers.get('Content-Length')) > maxBytes) throw new Refusal(413, 'too-large')
  const text = await readText(request, maxBytes)
  try {
    const message: unknown = JSON.parse(text)
    if (isObject(message)) return message
  } catch {}
  throw new Refusal(400, 'bad-request')
}

/** Counts while it reads, because `Content-Length` may be missing or wrong. */
async function readText(request: Request, maxBytes: number): Promise<string> {
  if (!request.body) return ''
  const reader = request.body.getReader()
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  let bytes = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return text + decoder.decode()
      bytes += value.byteLength
      if (bytes > maxBytes) break
      text += decoder.decode(value, { stream: true })
    }
  } catch {
    // Cut off, or not UTF-8. Nobody but this client is to blame, so it is not an internal error.
    throw new Refusal(400, 'bad-request')
  }
  reader.cancel().catch(() => {})
  throw new Refusal(413, 'too-large')
}

export interface OriginPolicy {
  accepts(request: Request): boolean
  /** Nothing, unless the origin is on the list. */
  corsHeaders(request: Request): Readonly<Record<string, string>>
}

/** Without a list only same-origin requests, and those without an `Origin` (which no browser page can forge away on POST). */
export function originPolicy(allowed: readonly string[] | undefined): OriginPolicy {
  return {
    accepts(request) {
      const origin = request.headers.get('Origin')
      if (origin === null) return true
      return allowed ? allowed.includes(origin) : isSameOrigin(origin, request)
    },
    corsHeaders(request) {
      const origin = request.headers.get('Origin')
      if (origin === null || !allowed?.includes(origin)) return {}
      return {
        'Access-Control-Allow-Origin': origin,
        'Access-Control-Allow-Credentials': 'true',
        'Access-Control-Allow-Methods': 'GET, POST',
        'Access-Control-Allow-Headers': `Content-Type, ${CONNECTION_ID_HEADER}, ${IDEMPOTENCY_KEY_HEADER}, Authorization`,
        // [spec] a cross-origin page sees no response header but a safelisted few, and Retry-After is not one of them.
        'Access-Control-Expose-Headers': 'Retry-After',
        Vary: 'Origin',
      }
    },
  }
}

function isSameOrigin(origin: string, request: Request): boolean {
  if (origin === new URL(request.url).origin) return true
  // Behind a proxy that ends TLS the scheme of `request.url` is not the browser's, but the host still is.
  try {
    return new URL(origin).host === request.headers.get('Host')
  } catch {
    return false
  }
}
