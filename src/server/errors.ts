import type { Answer } from './log/cluster'

/** An answer other than success. `code` is all that the client is told, and `detail`, where it is meant for it. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly headers: Readonly<Record<string, string>> = {},
    readonly detail?: string,
  ) {
    super(detail ?? code)
  }
}

/** A refusal that a setting of the server, or of a proxy, is to blame for. So those who can change it are told too. */
export class Misconfiguration extends Refusal {
  constructor(status: number, code: string, detail: string) {
    super(status, code, {}, detail)
  }
}

/** To a client: open another stream. */
export const unknownStream = () => new Refusal(404, 'unknown-stream')
/** Also what a log rejects with that has told why. */
export const unavailable = () => new Refusal(503, 'unavailable', { 'Retry-After': '1' })
/** @param wait ms */
export const tooMany = (wait = 5_000) =>
  new Refusal(429, 'too-many', { 'Retry-After': String(Math.ceil(wait / 1_000)) })

/** What a client is told of an error: nothing, if it was not meant for it. */
export function refusalOf(error: unknown, onError: (error: unknown) => void): Answer {
  if (error instanceof Refusal) {
    const { status, code, detail, headers } = error
    return { status, json: JSON.stringify({ error: code, message: detail }), headers }
  }
  onError(error)
  return { status: 500, json: '{"error":"internal"}' }
}

export const jsonResponse = (status: number, json: string, headers: Readonly<Record<string, string>> = {}) =>
  new Response(json, {
    status,
    headers: {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      ...headers,
    },
  })
