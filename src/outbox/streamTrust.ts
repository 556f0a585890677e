import { ConnectionError, type SendError } from '../errors'
import type { UpstreamEvent } from '../machine/types'
import { meaningOf } from '../protocol/status'
import { Endpoints } from './missingEndpoints'
import type { Gate } from './flight'

/** Failures in a row without a word from a server of ours, after which the line itself is in doubt. */
const OMINOUS = 2

/** What the POSTs so far have shown of the current stream, and of the endpoints. */
export class Evidence {
  readonly #tellMachine: (fact: UpstreamEvent) => void
  readonly #endpoints = new Endpoints()
  #gate: Gate | undefined
  /** The stream has answered a POST. */
  #isProven = false
  /** In a row. */
  #ominous = 0

  constructor(tellMachine: (fact: UpstreamEvent) => void) {
    this.#tellMachine = tellMachine
  }

  /** Returns whether the gate is that of a fresh stream. */
  begin(gate: Gate): boolean {
    const isFresh = this.#gate?.connectionId !== gate.connectionId
    this.#gate = gate
    if (isFresh) {
      this.#isProven = false
      this.#ominous = 0
    }
    // What let a stream through again was a resume, or the answer to a probe.
    if (gate.isProven || !isFresh) this.#prove()
    return isFresh
  }

  #prove() {
    if (this.#gate?.isDoubted && !this.#isProven) this.#tellMachine({ type: 'upstream.proved' })
    this.#isProven = true
  }

  /** The server has given a verdict. */
  heard() {
    this.#ominous = 0
  }

  /** A 2xx of this endpoint. */
  taken(endpoint: string, { connectionId }: Gate) {
    this.#endpoints.taken(endpoint)
    if (this.#gate?.connectionId === connectionId) this.#prove()
  }

  /** A POST on the current stream failed. */
  failed(error: ConnectionError, isOminous: boolean) {
    this.#ominous = isOminous ? this.#ominous + 1 : 0
    if (this.#ominous < OMINOUS) return
    this.#ominous = 0
    this.#tellMachine({ type: 'upstream.doubtful', error })
  }

  /** Its endpoint may be missing, and nothing proves yet that this stream is known to whoever answers: a probe would. */
  asksAbout(endpoint: string): boolean {
    const mayAsk = !this.#isProven && !!this.#gate?.features.includes('probe')
    if (!mayAsk || !this.#endpoints.isSuspect(endpoint)) return false
    const error = new ConnectionError('unknown-stream', `404 from ${endpoint}: is it the stream?`)
    this.#tellMachine({ type: 'upstream.doubtful', error })
    return true
  }

  /** The error to tell, if a 404 is no word about the stream, but about an endpoint that the server does not have. */
  missing(endpoint: string, { status, cause }: ConnectionError): SendError | undefined {
    const isOpen = meaningOf(status) === 'stream' && cause !== 'unknown-stream'
    if (!isOpen || !this.#endpoints.disowned(endpoint, this.#gate?.connectionId ?? null, this.#isProven))
      return undefined
    const what = `the server answers 404 for ${endpoint}, on stream after stream that it knows`
    return new ConnectionError('unknown-endpoint', what, { status }) as SendError
  }
}
