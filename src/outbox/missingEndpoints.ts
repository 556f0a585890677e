import { ConnectionError, type SendError } from '../errors'
import { meaningOf } from '../protocol/status'

/** On so many streams an endpoint has to answer 404 before it counts as missing. */
const STREAMS = 3
/**
 * The same for one that has answered 2xx: behind a load balancer another node may not know the
 * stream.
 */
const STREAMS_IF_KNOWN = 30

/**
 * Decides what a 404 is about. With the error `unknown-stream` it is about the stream. Any other is
 * about the stream too, until the endpoint has answered 404 on `STREAMS` streams in a row, each of
 * which answered another POST with 2xx: then the server does not have the endpoint.
 */
export class MissingEndpoints {
  /** The streams that each has answered 404 on, as far as they are proven. */
  readonly #suspects = new Map<string, Set<string>>()
  readonly #known = new Set<string>()

  /** A POST to it was answered 2xx, so it is there. */
  taken(endpoint: string) {
    this.#known.add(endpoint)
    this.#suspects.delete(endpoint)
  }

  /** It has answered such a 404, and no 2xx since. */
  isSuspect(endpoint: string): boolean {
    return this.#suspects.has(endpoint)
  }

  /**
   * The error to tell, if the endpoint is missing. `provenStream` is the stream, if it has answered
   * another POST; else null.
   */
  missing(endpoint: string, { status, cause }: ConnectionError, provenStream: string | null): SendError | undefined {
    if (meaningOf(status) !== 'stream' || cause === 'unknown-stream') return undefined
    const streams = this.#suspects.get(endpoint) ?? new Set()
    this.#suspects.set(endpoint, streams)
    const most = this.#known.has(endpoint) ? STREAMS_IF_KNOWN : STREAMS
    if (provenStream && streams.size < most) streams.add(provenStream)
    if (streams.size < most) return undefined
    const why = `the server answers 404 for ${endpoint}, on streams that it knows`
    return new ConnectionError('unknown-endpoint', why, { status }) as SendError
  }
}
