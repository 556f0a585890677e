import { isText, type JsonObject, parseJson } from '../../protocol'
import { type Answer, refusalOf } from '../answer'
import type { Clock } from '../clock'
import { tooMany, unavailable, unknownStream } from '../errors'
import type { Cluster } from '../log/cluster'
import type { SessionLog } from '../log/sessionLog'
import type { Metric } from '../metrics'
import { Connections, nodeOf } from './connections'
import { createEndedStreams, type EndedStreams } from './endedStreams'
import { callStream, parseCall, type StreamCall } from './streamCalls'

/** The stream that a request names: here, or in another process. */
export interface StreamRef {
  readonly id: string
  /** Rejects with `Refusal` 404 if there is no such stream (any more). */
  call(call: StreamCall): Promise<unknown>
}

/** The sessions, of these, that are attached to a stream, and those of them that have begun. */
export async function attachedOf(stream: StreamRef, sessionIds: readonly string[]) {
  const answer = await stream.call({ type: 'attached', sessionIds })
  const begun = textsOf(answer)
  return { begun, attached: [...begun, ...textsOf([answer].flat().map((each) => Object(each).empty))] }
}

/** The texts in a stream's answer, which may be of another version. */
export const textsOf = (answer: unknown): readonly string[] => [answer].flat().filter(isText)

export interface StreamsOptions {
  readonly log: SessionLog
  readonly limits: {
    readonly receiptAge: number
    readonly receipts: number
    readonly streamsPerPrincipal: number
    readonly stall: number
  }
  readonly heartbeat: number
  readonly clock: Clock
  onMetric(metric: Metric): void
  /** As in `ClusterHost`. */
  onRevoked(principalId: string, sessionId: string | undefined): void
  onError(error: unknown): void
}

/** All streams that a request may name, in whichever process they are. */
export class Streams {
  /** Where the processes' shared knowledge is, if there are several. */
  readonly cluster: Cluster | undefined
  readonly #options: StreamsOptions
  readonly #connections: Connections
  readonly #ended: EndedStreams

  constructor(options: StreamsOptions) {
    const { log, limits, heartbeat, clock, onMetric, onRevoked, onError } = options
    const { receiptAge, receipts, stall, streamsPerPrincipal } = limits
    const serve = (request: unknown) => this.#serve(request)
    const ended = createEndedStreams(clock)
    this.#options = options
    this.#ended = ended
    this.cluster = log.join?.({ receiptAge, receipts, serve, onRevoked, onMetric, onError })
    this.#connections = new Connections({
      maxPerPrincipal: streamsPerPrincipal,
      silence: 2 * heartbeat,
      stall,
      node: this.cluster?.node,
      clock,
      onCount: (value) => onMetric({ name: 'streams', value }),
      onEnd: ended.add,
    })
  }

  open(...given: Parameters<Connections['open']>) {
    return this.#connections.open(...given)
  }

  checkRoom(principalId: string) {
    return this.#connections.checkRoom(principalId)
  }

  /** For who wants to know of the end of a stream; never, if it is elsewhere. */
  endOf(principalId: string, id: unknown) {
    const connection = this.#connections.find(id, principalId)
    return (listener: () => void) => (connection ? this.#connections.whenEnded(connection, listener) : () => {})
  }

  all() {
    return this.#connections.all()
  }

  /** The streams of a principal, in this process. */
  of(principalId: string) {
    return this.#connections.of(principalId).map(({ stream }) => stream)
  }

  /** @throws Refusal 404 if there can be no such stream of theirs */
  find(principalId: string, id: unknown): StreamRef {
    if (this.#connections.find(id, principalId) || this.#ended.attachedOf(id, principalId, []))
      return { id: String(id), call: (call) => this.#callHere(principalId, id, call) }
    const node = nodeOf(id)
    if (!this.cluster || node === undefined || node === this.cluster.node) throw unknownStream()
    return { id: String(id), call: (call) => this.#askOther(node, { principalId, connectionId: id, call }) }
  }

  async #callHere(principalId: string, id: unknown, call: StreamCall): Promise<unknown> {
    const known = this.#connections.find(id, principalId)
    if (known) return callStream(known.stream, call)
    // Nothing is attached to a stream that has ended.
    if (call.type === 'revoke') return undefined
    const attached = call.type === 'farewell' && this.#ended.attachedOf(id, principalId, call.sessionIds)
    if (!attached) throw unknownStream()
    return attached
  }

  async #askOther(node: string, request: object): Promise<unknown> {
    const { clock, onMetric } = this.#options
    const start = clock.now()
    const answer = await this.cluster?.ask(node, request)
    onMetric({ name: 'forwarded', value: 1 })
    onMetric({ name: 'forward.duration', value: Math.max(0, clock.now() - start) })
    if (answer === 'gone') throw unknownStream()
    // An answer that this version does not know is one to try again.
    const { status, json }: JsonObject = Object(answer)
    const value = isText(json) ? parseJson(json) : undefined
    if (status === 200 && value !== undefined) return value
    if (status === 404) throw unknownStream()
    throw status === 429 ? tooMany() : unavailable()
  }

  /** The other end of `#askOther`. */
  async #serve(request: unknown): Promise<Answer> {
    const { principalId, connectionId, call }: JsonObject = Object(request)
    try {
      const parsed = parseCall(call)
      // Another version's, in the middle of an update.
      if (!parsed) throw unavailable()
      const answer = await this.#callHere(String(principalId), connectionId, parsed)
      return { status: 200, json: JSON.stringify(answer) ?? 'null' }
    } catch (error) {
      return refusalOf(error, this.#options.onError)
    }
  }
}
