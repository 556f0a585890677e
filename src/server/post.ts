import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, LANE_HEADER } from '../protocol'
import { jsonResponse, toResponse } from './answer'
import type { CommandDesk } from './command/commandDesk'
import { laneOf } from './command/lanes'
import { type BatchMessage, type Posted, toBatch, toCommand, weightOf } from './command/posted'
import { Presence } from './command/presence'
import type { ControlDesk } from './control'
import { isControl } from './endpoints'
import { tooMany, unknownStream } from './errors'
import { Budget, type Budgets } from './limits/budget'
import type { Pacer } from './limits/pacer'
import { parsedWeight, REQUEST_WEIGHT, textWeight } from './limits/weights'
import type { ResolvedOptions } from './options'
import { parseMessage, readBody } from './request/body'
import { BATCH_DEPTH, MAX_DEPTH } from './request/json'
import type { Principal } from './request/principal'
import type { Streams } from './stream/streams'

export interface PostsOptions<P extends Principal>
  extends Pick<ResolvedOptions<P>, 'typeEndpoints' | 'contract' | 'limits' | 'clock' | 'onMetric' | 'onError'> {
  readonly budgets: Budgets
  readonly streams: Streams
  readonly control: ControlDesk<P>
  readonly desk: CommandDesk<P>
  /** Of the bodies. */
  readonly pace: Pacer
  /** @throws Refusal if `authenticate` returns null */
  identify(request: Request): Promise<P>
}

/**
 * A body up to this size waits for nothing, so a client that is throttled can still stop, probe and
 * resume. Bytes.
 */
const SMALL = 16_384
/** A longer wait is the client's, which shows it to its user. ms. */
const MAX_WAIT = 2_000

/**
 * Takes POSTs: reads each on its principal's account, and hands it to the control desk or the
 * command desk.
 */
export class Posts<P extends Principal> {
  readonly #options: PostsOptions<P>

  constructor(options: PostsOptions<P>) {
    this.#options = options
  }

  /** Rejects with `Refusal`, or what a hook or the log threw. */
  async take(request: Request, endpoint: string): Promise<Response> {
    const { identify, budgets, streams, clock, control, desk } = this.#options
    const connectionId = request.headers.get(CONNECTION_ID_HEADER)
    const principal = await identify(request)
    const memory = new Budget(Infinity, budgets.of(principal.id))
    const presence = new Presence(() => request.signal, streams.endOf(principal.id, connectionId), clock)
    let rest: Promise<unknown> = Promise.resolve()
    try {
      if (!memory.take(REQUEST_WEIGHT)) throw tooMany()
      const text = await this.#readInTurn(request, endpoint, principal, memory)
      if (isControl(endpoint)) {
        // It is held until the log, `authorize` and the pace of replays let it go on.
        if (!memory.take(parsedWeight(text))) throw tooMany()
        const result = await control.take(endpoint, { principal, connectionId, message: parseMessage(text) })
        return jsonResponse(200, JSON.stringify({ ok: true, ...result }))
      }
      const posted = this.#read(request, endpoint, text, memory)
      const { answer, over } = desk.take({ principal, connectionId, presence }, posted)
      rest = over
      return toResponse(await answer)
    } finally {
      // A batch is answered before its slow lanes are.
      void rest.then(() => {
        memory.close()
        presence.end()
      })
    }
  }

  /** Waits before it reads: until then the body is held by its sender. */
  async #readInTurn(request: Request, endpoint: string, { id }: P, memory: Budget): Promise<string> {
    const { clock, limits, pace } = this.#options
    const { bodyBytes: bytes, bodyTimeout: timeout } = limits
    const length = request.headers.get('Content-Length')
    const announced = Math.min(bytes, Math.max(0, Number(length) || 0))
    if (length !== null && announced <= SMALL) pace.spend(id, announced)
    else await this.#waitForTurn(id, announced, request.signal)
    const depth = endpoint === 'batch' ? BATCH_DEPTH : MAX_DEPTH
    const text = await readBody(request, { bytes, timeout, depth }, clock, memory)
    pace.spend(id, Math.max(0, text.length - announced))
    return text
  }

  /**
   * @throws Refusal 429 if that takes too long, 404 if the client has gone meanwhile: then nothing
   * is spent
   */
  async #waitForTurn(principalId: string, bytes: number, signal: AbortSignal) {
    const { clock, pace, onMetric } = this.#options
    const start = clock.now()
    let ms = pace.delay(principalId)
    if (ms > 0) onMetric({ name: 'throttled', value: 1 })
    for (; ms > 0; ms = pace.delay(principalId)) {
      if (clock.now() - start + ms > MAX_WAIT) throw tooMany(ms)
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, ms))
      if (signal.aborted) throw unknownStream()
    }
    pace.spend(principalId, bytes)
  }

  /** @throws Refusal 400 if it is no command and no batch, 429 if there is no room for it */
  #read({ headers }: Request, endpoint: string, text: string, memory: Budget): Posted | readonly BatchMessage[] {
    const { typeEndpoints, contract, onError } = this.#options
    const rules = { typeEndpoints, contract, onError }
    const key = headers.get(IDEMPOTENCY_KEY_HEADER) ?? undefined
    const lane = laneOf(headers.get(LANE_HEADER))
    // Room is asked for before the work; what there is more in the end are numbers that are written
    // in another way.
    const weight = textWeight(text)
    if (!memory.take(weight)) throw tooMany()
    const posted =
      endpoint === 'batch' ? toBatch(rules, text) : toCommand(rules, parseMessage(text), { endpoint, key, lane })
    if (!memory.take(Math.max(0, weightOf(posted) - weight))) throw tooMany()
    return posted
  }
}
