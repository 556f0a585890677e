import { Refusal } from './errors'

/** What a request is answered with. */
export interface Answer {
  readonly status: number
  readonly json: string
  readonly headers?: Readonly<Record<string, string>> | undefined
}

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

export const toResponse = ({ status, json, headers }: Answer) => jsonResponse(status, json, headers)
