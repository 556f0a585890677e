import { ConnectionError, type SendError } from '../errors'
import type { UpstreamEvent } from '../machine/types'
import type { Gate } from './flight'
import { MissingEndpoints } from './missingEndpoints'

/**
 * Failures in a row that no server of ours has answered, after which the line itself is in doubt.
 */
const MAX_UNANSWERED = 2

/**
 * Decides how far the current stream is trusted to carry POSTs, and tells the machine.
 * `upstream.doubtful` leads to its state `doubting`, where no POST starts until a probe is
 * answered; a missed probe leads to `backoff`. `upstream.proved` sets the machine's `trust` back to
 * `kept`.
 *
 * | standing | means |
 * | --- | --- |
 * | `doubted` | the last stream read open and took no POST, and this one has answered none yet |
 * | `untested` | it has answered none yet |
 * | `proven` | it has answered one with 2xx: a resume, a probe, or a message |
 *
 * The machine's `trust` is the same notion beyond one stream: it decides whether the attempts are
 * counted anew. They cannot disagree: `doubted` is read from it whenever the gate opens, and only
 * the step from `doubted` to `proven` restores it.
 */
export class StreamTrust {
  readonly #tellMachine: (fact: UpstreamEvent) => void
  readonly #endpoints = new MissingEndpoints()
  #gate: Gate | undefined
  #standing: 'doubted' | 'untested' | 'proven' = 'untested'
  /** In a row. */
  #unanswered = 0

  constructor(tellMachine: (fact: UpstreamEvent) => void) {
    this.#tellMachine = tellMachine
  }

  get isProven(): boolean {
    return this.#standing === 'proven'
  }

  /** Returns whether the gate is that of a fresh stream. */
  begin(gate: Gate): boolean {
    const isFresh = this.#gate?.connectionId !== gate.connectionId
    this.#gate = gate
    if (isFresh) {
      this.#standing = 'untested'
      this.#unanswered = 0
    }
    if (gate.trust === 'lost') this.#standing = 'doubted'
    // The gate opens a second time on a stream only because it has answered a resume or a probe.
    if (gate.isResumed || !isFresh) this.#prove()
    return isFresh
  }

  #prove() {
    if (this.#standing === 'doubted') this.#tellMachine({ type: 'upstream.proved' })
    this.#standing = 'proven'
  }

  /** The server has given a verdict. */
  heard() {
    this.#unanswered = 0
  }

  /** The endpoint has answered 2xx. */
  taken(endpoint: string, { connectionId }: Gate) {
    this.#endpoints.taken(endpoint)
    if (this.#gate?.connectionId === connectionId) this.#prove()
  }

  /**
   * A POST on the current stream failed. `isUnanswered`: by what answered, if anything did, it was
   * no server of ours.
   */
  failed(error: ConnectionError, isUnanswered: boolean) {
    this.#unanswered = isUnanswered ? this.#unanswered + 1 : 0
    if (this.#unanswered < MAX_UNANSWERED) return
    this.#unanswered = 0
    this.#tellMachine({ type: 'upstream.doubtful', error })
  }

  /**
   * Before a POST to an endpoint that answered 404 last: if this stream has answered no other POST,
   * the next 404 could be about either. Then this asks the machine for a probe, which proves the
   * stream, and returns true: the POST has to wait for the answer.
   */
  asksForProbe(endpoint: string): boolean {
    const mayAsk = !this.isProven && !!this.#gate?.features.includes('probe')
    if (!mayAsk || !this.#endpoints.isSuspect(endpoint)) return false
    const error = new ConnectionError('unknown-stream', `404 from ${endpoint}: a probe follows`)
    this.#tellMachine({ type: 'upstream.doubtful', error })
    return true
  }

  /**
   * After a 404: the error to tell if the endpoint is missing, `undefined` if it is taken to be
   * about the stream.
   */
  missing(endpoint: string, error: ConnectionError): SendError | undefined {
    return this.#endpoints.missing(endpoint, error, (this.isProven && this.#gate?.connectionId) || null)
  }
}
