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
 * | state | a 401 to a request |
 * | --- | --- |
 * | `trusted` | the hook is asked for better headers → `renewing`; the request is repeated with them |
 * | `renewing` | the request waits for the same answer, and is repeated with it. If the hook fails, or who waits gives up → `trusted` |
 * | `renewed` | is final, if the request was made in this state; one from before is repeated with the new headers |
 *
 * A 2xx leads to `trusted`. A final 401 too: it stops the line, and what starts it again begins with a new allowance.
 */
interface Standing {
  state: 'trusted' | 'renewing' | 'renewed'
  readonly headers: Promise<Headers>
}
const TRUSTED = { state: 'trusted' } as Standing

/** What requests are sent with, and what follows where the server does not accept it. */
export class Credentials {
  readonly #headers: HeaderMap | HeadersHook | undefined
  readonly #attempt: () => number
  #standing = TRUSTED

  constructor(headers: HeaderMap | HeadersHook | undefined, attempt: () => number) {
    this.#headers = headers
    this.#attempt = attempt
  }

  async send(
    reason: HeadersRequest['reason'],
    signal: AbortSignal | null | undefined,
    perform: (headers: Headers) => Promise<Response>,
  ): Promise<Response> {
    const before = this.#standing
    const wasRenewed = before.state === 'renewed'
    let response = await perform(await this.#ask(reason))
    const isFinal = wasRenewed && this.#standing === before
    if (isRefused(response) && typeof this.#headers === 'function' && !isFinal) {
      discard(response)
      response = await perform(await this.#renewed(signal))
    }
    if (response.ok || isRefused(response)) this.#standing = TRUSTED
    return response
  }

  async #ask(reason: HeadersRequest['reason']): Promise<Headers> {
    const headers = this.#headers
    if (typeof headers !== 'function') return new Headers(headers)
    try {
      return new Headers(await headers({ reason, attempt: this.#attempt() }))
    } catch (cause) {
      throw new ConnectionError('hook-failed', 'headers threw, or gave no header map; see cause', { cause })
    }
  }

  /** What a 401 is answered with. Requests that are under way together share one renewal. */
  async #renewed(signal: AbortSignal | null | undefined): Promise<Headers> {
    if (this.#standing === TRUSTED) this.#standing = { state: 'renewing', headers: this.#ask('unauthorized') }
    const shared = this.#standing
    // Who waited longest has lost patience, or the hook has failed: the next 401 asks again.
    const giveUp = () => {
      if (this.#standing === shared && shared.state === 'renewing') this.#standing = TRUSTED
    }
    signal?.addEventListener('abort', giveUp)
    try {
      const headers = await shared.headers
      shared.state = 'renewed'
      return headers
    } finally {
      giveUp()
      signal?.removeEventListener('abort', giveUp)
    }
  }
}

const isRefused = ({ status }: Response) => meaningOf(status) === 'credentials'
