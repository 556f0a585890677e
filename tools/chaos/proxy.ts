import { once } from 'node:events'
import {
  Agent,
  request as ask,
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Answer {
  readonly status: number
  readonly headers: OutgoingHttpHeaders
  readonly body: string
}
type Frames = AsyncIterable<string>

/** One request on its way to the server. */
export interface Exchange {
  /** Draws how long, how late, how often: ≥ 0 and < 1. */
  readonly random: () => number
  /** Aborted when the client has its answer, or is gone. */
  readonly over: AbortSignal
  /** Lets the server see the request. Resolves with the whole answer, so it is for POSTs. */
  forward(): Promise<Answer>
  answer(answer: Answer): void
  /** What happens without a fault. `alter` may do to the frames of a stream what it likes; if it throws, the stream is cut. */
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
/** Enough for what was written to be read. Turns are counted, because on a busy machine each may be long. */
async function settle(turns = 10) {
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
  /** No network does that, but a proxy that restarts. Only where the client can notice: `contiguous-seq`. */
  loseFrame: atFrame(async function* (frame) {
    if (!frame.includes('"seq"')) yield frame
  }),
} satisfies Record<string, Fault>

export interface ProxyOptions {
  /** The server's origin. */
  readonly target: string
  /** What is to happen to this request: a fault, and what it draws from. */
  plan(endpoint: string, body: string): { readonly fault?: Fault | undefined; readonly random: () => number }
  /** Headers that the server does not get to see. */
  readonly withhold?: readonly string[]
  /** Makes of a frame what the client gets; '' is nothing. */
  readonly rewrite?: (frame: string) => string
}

/** Between a client and a server, on a free port of 127.0.0.1. */
export async function startProxy({ target, plan, withhold = [], rewrite = (frame) => frame }: ProxyOptions) {
  const agent = new Agent({ keepAlive: true })
  const streams = new Set<ServerResponse>()
  let mostStreams = 0
  /** POSTs on their way. */
  let busy = 0

  async function open(request: IncomingMessage, body: string): Promise<IncomingMessage> {
    const { host, connection, 'content-length': _, ...headers } = request.headers
    for (const name of withhold) delete headers[name]
    const { method } = request
    const upstream = ask(`${target}${request.url}`, { method, headers, agent }).end(body)
    const [answered] = (await once(upstream, 'response')) as [IncomingMessage]
    return answered
  }

  async function countStream(response: ServerResponse) {
    streams.add(response)
    response.on('close', () => streams.delete(response))
    const open = [...streams]
    // The end of the one before may be on its way still. And this one may be the older of the two: given up, and late.
    await settle(50)
    mostStreams = Math.max(mostStreams, open.filter((stream) => streams.has(stream)).length)
  }

  async function handle(request: IncomingMessage, response: ServerResponse) {
    const body = await textOf(request)
    const endpoint = request.url?.split('/').at(-1) ?? ''
    const over = new AbortController()
    response.on('close', () => over.abort())
    const { fault = ({ pass }) => pass(), random } = plan(endpoint, body)

    async function forward(): Promise<Answer> {
      const answered = await open(request, body)
      return { status: answered.statusCode ?? 0, headers: withoutHops(answered), body: await textOf(answered) }
    }
    function respond({ status, headers, body }: Answer) {
      response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) }).end(body)
    }
    async function passStream(alter: (frames: Frames) => Frames) {
      const answered = await open(request, body)
      const abandon = () => void answered.destroy()
      over.signal.addEventListener('abort', abandon)
      if (over.signal.aborted) return abandon()
      response.writeHead(answered.statusCode ?? 0, withoutHops(answered)).flushHeaders()
      try {
        for await (const frame of alter(framesOf(answered, rewrite))) {
          if (!response.write(frame)) await once(response, 'drain', { signal: over.signal })
        }
        response.end()
      } finally {
        abandon()
      }
    }
    const cut = () => request.socket.destroy()

    if (endpoint === 'events') void countStream(response)
    await fault({
      random,
      over: over.signal,
      forward,
      answer: respond,
      pass: async (alter = (frames) => frames) =>
        endpoint === 'events' ? passStream(alter) : respond(await forward()),
      cutAfter: (status, headers, part) => void response.writeHead(status, headers).write(part, cut),
      cut,
    })
  }

  const server = createServer(async (request, response) => {
    const posts = Number(request.method === 'POST')
    busy += posts
    await handle(request, response).catch(() => request.socket.destroy())
    busy -= posts
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** The most streams that the client ever held at once. */
    get mostStreams() {
      return mostStreams
    },
    /** Resolves when no POST is on its way any more, not even one that the client has given up. */
    async quiet() {
      while (busy > 0) await sleep(1)
    },
    async close() {
      agent.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function textOf(message: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of message.setEncoding('utf8')) text += chunk
  return text
}

async function* framesOf(answered: IncomingMessage, rewrite: (frame: string) => string): Frames {
  let rest = ''
  for await (const chunk of answered.setEncoding('utf8')) {
    const parts = (rest + chunk).split('\n\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      const frame = rewrite(`${part}\n\n`)
      if (frame) yield frame
    }
  }
}

function withoutHops({ headers }: IncomingMessage): OutgoingHttpHeaders {
  const { connection, 'keep-alive': _, 'transfer-encoding': __, 'content-length': ___, ...rest } = headers
  return rest
}
