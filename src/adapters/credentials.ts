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
  readonly headers?: Promise<Headers>
}
const TRUSTED: Standing = { state: 'trusted' }

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
      if (this.#standing === TRUSTED) this.#renew()
      response = await perform(await this.#share(signal))
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
      throw new ConnectionError('hook-failed', undefined, { cause })
    }
  }

  #renew() {
    const headers = this.#ask('unauthorized')
    const own: Standing = { state: 'renewing', headers }
    this.#standing = own
    headers.then(
      () => {
        own.state = 'renewed'
      },
      () => this.#giveUp(own),
    )
  }

  /** Who waited longest has lost patience: the next 401 asks again. */
  async #share(signal: AbortSignal | null | undefined): Promise<Headers> {
    const shared = this.#standing
    const giveUp = () => this.#giveUp(shared)
    signal?.addEventListener('abort', giveUp)
    try {
      return (await shared.headers) as Headers
    } finally {
      signal?.removeEventListener('abort', giveUp)
    }
  }

  #giveUp(renewal: Standing) {
    if (this.#standing === renewal && renewal.state === 'renewing') this.#standing = TRUSTED
  }
}

const isRefused = ({ status }: Response) => meaningOf(status) === 'credentials'
