import { FEATURES, PROTOCOL_VERSION } from '../../protocol'
import { unavailable } from '../errors'
import { Budget, type Budgets } from '../limits/budget'
import type { Pacer } from '../limits/pacer'
import { putOnAccount } from '../limits/weights'
import type { ResolvedOptions } from '../options'
import type { Principal } from '../request/principal'
import type { Authority } from './authority'
import { createChatStream } from './chatStream'
import type { Streams } from './streams'

export interface StreamOpenerOptions<P extends Principal>
  extends Pick<ResolvedOptions<P>, 'log' | 'clock' | 'random' | 'heartbeat' | 'limits' | 'onMetric' | 'onError'> {
  readonly streams: Streams
  readonly authority: Authority<P>
  readonly budgets: Budgets
  readonly pacer: Pacer
  /** How long a receipt is kept at least, ms. */
  readonly receiptAge: number
  /** @throws Refusal if `authenticate` returns null */
  identify(request: Request): Promise<P>
  /** @throws Refusal 503 */
  refuseIfClosed(): void
}

const HEADERS = {
  'Content-Type': 'text/event-stream',
  // Proxies must neither keep nor buffer nor compress it; the second one is for nginx.
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
  // For browsers without Fetch Metadata: a frame gives up the stream as soon as it reads this.
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
}

/** Opens event streams. */
export class StreamOpener<P extends Principal> {
  readonly #options: StreamOpenerOptions<P>

  constructor(options: StreamOpenerOptions<P>) {
    this.#options = options
  }

  /** Rejects with `Refusal`, or what `authenticate` threw. */
  async take(request: Request): Promise<Response> {
    const { authority, streams, identify, refuseIfClosed } = this.#options
    const mark = authority.mark()
    const principal = await identify(request)
    refuseIfClosed()
    if (authority.wasRevoked(mark, principal.id)) throw unavailable()
    if (!new URL(request.url).searchParams.has('ask')) return new Response(this.#open(principal), { headers: HEADERS })
    // A native EventSource does not tell why it was refused, so the client asks. No stream is
    // opened.
    streams.checkRoom(principal.id)
    return new Response('', { headers: HEADERS })
  }

  #open(principal: P): ReadableStream<Uint8Array<ArrayBuffer>> {
    const { log, clock, random, heartbeat, limits, onMetric, onError } = this.#options
    const { streams, authority, budgets, pacer, receiptAge } = this.#options
    const share = budgets.of(principal.id)
    const account = new Budget(Infinity, share)
    const { stream } = streams.open(principal.id, (connectionId, onEnd) =>
      createChatStream({
        log,
        clock,
        heartbeat,
        stall: limits.stall,
        age: limits.streamAge * (0.9 + 0.2 * random()),
        maxSessions: limits.sessionsPerStream,
        principalId: principal.id,
        pacer,
        account,
        welcome: {
          type: 'welcome',
          protocolVersion: PROTOCOL_VERSION,
          connectionId,
          heartbeat,
          features: FEATURES,
          receiptAge,
        },
        onEnd(sessionIds) {
          account.close()
          onEnd(sessionIds)
        },
        onEvict: () => onMetric({ name: 'evictions', value: 1 }),
        beat: Math.min(heartbeat, authority.beatAtMost),
        onBeat: () => authority.beat(principal, stream),
        onError,
      }),
    )
    authority.beat(principal, stream)
    putOnAccount(stream.body, share)
    return stream.body
  }
}
