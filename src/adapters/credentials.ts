import { ConnectionError } from '../errors'
import { meaningOf } from '../protocol/status'
import { discard } from './answer'

export interface HeadersRequest {
  /** `unauthorized`: the headers given last were answered 401. */
  readonly reason: 'stream' | 'post' | 'unauthorized'
  /** The connection's failures in a row. */
  readonly attempt: number
}
export type HeaderMap = Readonly<Record<string, string>>
export type HeadersHook = (request: HeadersRequest) => HeaderMap | Promise<HeaderMap>

/**
 * | state | a request that is answered 401 |
 * | --- | --- |
 * | `trusted` | asks the hook for fresh headers (→ `renewing`), and is repeated with them |
 * | `renewing` | waits for those same headers, and is repeated with them. The hook fails, or a request that waits is aborted → `trusted` |
 * | `renewed` | fails with the 401, if it was sent with the fresh headers; if it was sent before, it is repeated with them |
 *
 * A 2xx leads back to `trusted`. So does a 401 that fails its request: it stops the line, and a new
 * start has a new allowance. Without a hook the first 401 fails its request: it is the only sign
 * that a cookie, or a header given as a value, has expired.
 */
type Standing =
  | { readonly state: 'trusted' }
  /** `headers`: the fresh ones. */
  | { state: 'renewing' | 'renewed'; readonly headers: Promise<Headers | undefined> }
const TRUSTED: Standing = { state: 'trusted' }

/**
 * Sends requests with the app's headers, and repeats one that is answered 401 with fresh headers,
 * once.
 */
export class Credentials {
  readonly #headers: HeaderMap | HeadersHook | undefined
  readonly #attempt: () => number
  #standing: Standing = TRUSTED

  constructor(headers: HeaderMap | HeadersHook | undefined, attempt: () => number) {
    this.#headers = headers
    this.#attempt = attempt
  }

  async send(
    reason: HeadersRequest['reason'],
    signal: AbortSignal | null | undefined,
    perform: (headers: Headers | undefined) => Promise<Response>,
  ): Promise<Response> {
    const before = this.#standing
    const wasRenewed = before.state === 'renewed'
    let response = await perform(await this.#ask(reason))
    const hadFreshHeaders = wasRenewed && this.#standing === before
    if (isRefused(response) && typeof this.#headers === 'function' && !hadFreshHeaders) {
      discard(response)
      response = await perform(await this.#renewed(signal))
    }
    if (response.ok || isRefused(response)) this.#standing = TRUSTED
    return response
  }

  /** Undefined: none are given. */
  async #ask(reason: HeadersRequest['reason']): Promise<Headers | undefined> {
    const headers = this.#headers
    if (typeof headers !== 'function') return headers && new Headers(headers)
    try {
      return new Headers(await headers({ reason, attempt: this.#attempt() }))
    } catch (cause) {
      throw new ConnectionError('hook-failed', 'headers threw, or gave no header map; see cause', { cause })
    }
  }

  /** Fresh headers. All requests that are answered 401 meanwhile share them. */
  async #renewed(signal: AbortSignal | null | undefined): Promise<Headers | undefined> {
    if (this.#standing.state === 'trusted') this.#standing = { state: 'renewing', headers: this.#ask('unauthorized') }
    const shared = this.#standing
    // The hook has failed, or has not answered before the timeout of a request that waits: the next
    // 401 asks it again.
    const trustAgain = () => {
      if (this.#standing === shared && shared.state === 'renewing') this.#standing = TRUSTED
    }
    signal?.addEventListener('abort', trustAgain)
    try {
      const headers = await shared.headers
      shared.state = 'renewed'
      return headers
    } finally {
      trustAgain()
      signal?.removeEventListener('abort', trustAgain)
    }
  }
}

const isRefused = ({ status }: Response) => meaningOf(status) === 'credentials'
