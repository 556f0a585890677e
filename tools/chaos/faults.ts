import { once } from 'node:events'
import type { OutgoingHttpHeaders } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Answer {
  readonly status: number
  readonly headers: OutgoingHttpHeaders
  readonly body: string
}
export type Frames = AsyncIterable<string>

/** One request on its way to the server. */
export interface Exchange {
  /** Draws how long, how late, how often: ≥ 0 and < 1. */
  readonly random: () => number
  /** Aborted when the client has its answer, or is gone. */
  readonly over: AbortSignal
  /** Lets the server see the request. Resolves with the whole answer, so it is for POSTs. */
  forward(): Promise<Answer>
  answer(answer: Answer): void
  /**
   * What happens without a fault. `alter` may do to the frames of a stream what it likes; if it
   * throws, the stream is cut.
   */
  pass(alter?: (frames: Frames) => Frames): Promise<void>
  /** Begins an answer that never becomes whole. */
  cutAfter(status: number, headers: OutgoingHttpHeaders, part: string): void
  /** Destroys the client's socket. */
  cut(): void
}

export type Fault = (exchange: Exchange) => unknown

const answer =
  (status: number, headers: OutgoingHttpHeaders = {}, body = ''): Fault =>
  (exchange) =>
    exchange.answer({ status, headers, body })
const half = (text: string) => text.slice(0, text.length / 2)
/**
 * Enough for what was written to be read. Turns are counted, because on a busy machine each may be
 * long.
 */
export async function settle(turns = 10) {
  for (let turn = 0; turn < turns; turn++) await sleep(1)
}
/** From 1 to 400 ms, most of them short: the long ones outlast a client's patience. */
const pause = ({ random }: Exchange) => sleep(400 ** random())

/** What may stand in an answer's place. */
const INSTEAD = {
  drop: ({ cut }) => cut(),
  hang: () => {},
  answer500: answer(500),
  answer503: answer(503, { 'Retry-After': '0' }),
  answer429: answer(429, { 'Retry-After': '1' }),
  answer401: answer(401),
  answer404: answer(404),
  answerEmpty: answer(200),
  answerHtml: answer(200, { 'Content-Type': 'text/html' }, '<!doctype html><title>Sign in</title>'),
} satisfies Record<string, Fault>

const afterwards =
  (fault: Fault): Fault =>
  async (exchange) => {
    await exchange.forward()
    await fault(exchange)
  }
type After = { readonly [Name in keyof typeof INSTEAD as `${Name}After`]: Fault }

/** Of a POST. `…After`: the server has seen it, and the client does not learn what came of it. */
export const POST_FAULTS = {
  ...INSTEAD,
  ...(Object.fromEntries(Object.entries(INSTEAD).map(([name, fault]) => [`${name}After`, afterwards(fault)])) as After),
  async cutAnswer({ forward, cutAfter }) {
    const { status, headers, body } = await forward()
    cutAfter(status, { ...headers, 'Content-Length': Buffer.byteLength(body) }, half(body))
  },
  /** Looks whole to HTTP. */
  async truncateAnswer(exchange) {
    const whole = await exchange.forward()
    exchange.answer({ ...whole, body: half(whole.body) })
  },
  /** It reaches the server even if the client has given up long ago. */
  async delayRequest(exchange) {
    await pause(exchange)
    await exchange.pass()
  },
  async delayAnswer(exchange) {
    const whole = await exchange.forward()
    await pause(exchange)
    exchange.answer(whole)
  },
} satisfies Record<string, Fault>

/** Does to the one frame that is drawn what `strike` says. */
const atFrame =
  (strike: (frame: string, exchange: Exchange) => Frames): Fault =>
  (exchange) =>
    exchange.pass(async function* (frames) {
      let left = Math.floor(400 * exchange.random())
      for await (const frame of frames) {
        if (left-- === 0) yield* strike(frame, exchange)
        else yield frame
      }
    })
/** Cuts a stream after `part`: not at once, or the client would throw the part away unread. */
async function* cutAt(part: string): Frames {
  yield part
  await settle()
  throw new Error('cut')
}

/** Of the stream. */
export const STREAM_FAULTS = {
  ...INSTEAD,
  cutWelcome: ({ pass }) =>
    pass(async function* (frames) {
      for await (const frame of frames) yield* cutAt(half(frame))
    }),
  /** The answer's head, and nothing more. */
  hangBeforeWelcome: ({ pass, over }) =>
    // biome-ignore lint/correctness/useYield: nothing is what it has to yield
    pass(async function* () {
      await once(over, 'abort')
    }),
  cutMidFrame: atFrame((frame) => cutAt(half(frame))),
  cutBetweenFrames: atFrame(cutAt),
  goSilent: atFrame(async function* (frame, { over }) {
    yield frame
    await once(over, 'abort')
  }),
  stall: atFrame(async function* (frame, exchange) {
    await pause(exchange)
    yield frame
  }),
  repeatFrame: atFrame(async function* (frame) {
    yield frame
    if (frame.includes('"seq"')) yield frame
  }),
  /**
   * No network does that, but a proxy that restarts. Only where the client can notice:
   * `contiguous-seq`.
   */
  loseFrame: atFrame(async function* (frame) {
    if (!frame.includes('"seq"')) yield frame
  }),
} satisfies Record<string, Fault>
