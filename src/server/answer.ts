import { Refusal } from './errors'

/** The answer to a request. */
export interface Answer {
  readonly status: number
  readonly json: string
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/**
 * The answer that tells a client of an error. Only a `Refusal` is meant for it; of any other it
 * learns nothing.
 */
export function refusalOf(error: unknown, onError: (error: unknown) => void): Answer {
  if (error instanceof Refusal) {
    const { status, code, detail, issues, headers } = error
    return { status, json: JSON.stringify({ error: code, message: detail, issues }), headers }
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

export const toResponse = ({ status, json, headers }: Answer) => jsonResponse(status, json, headers)
