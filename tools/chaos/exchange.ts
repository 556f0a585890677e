import { once } from 'node:events'
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Answer, Exchange, Frames } from './faults'

interface ExchangeOptions {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly isStream: boolean
  readonly random: () => number
  /** Asks the server. */
  open(): Promise<IncomingMessage>
  rewrite(frame: string): string
}

/** One request on its way through the proxy. */
export class ProxiedExchange implements Exchange {
  readonly random: () => number
  readonly over: AbortSignal
  readonly #options: ExchangeOptions

  constructor(options: ExchangeOptions) {
    const over = new AbortController()
    options.response.on('close', () => over.abort())
    this.random = options.random
    this.over = over.signal
    this.#options = options
  }

  readonly forward = async (): Promise<Answer> => {
    const answered = await this.#options.open()
    return { status: answered.statusCode ?? 0, headers: withoutHops(answered), body: await textOf(answered) }
  }

  readonly answer = ({ status, headers, body }: Answer) => {
    this.#options.response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) }).end(body)
  }

  readonly pass = async (alter = (frames: Frames) => frames) =>
    this.#options.isStream ? this.#passStream(alter) : this.answer(await this.forward())

  readonly cutAfter = (status: number, headers: OutgoingHttpHeaders, part: string) =>
    void this.#options.response.writeHead(status, headers).write(part, this.cut)

  readonly cut = () => void this.#options.request.socket.destroy()

  async #passStream(alter: (frames: Frames) => Frames) {
    const { response, open, rewrite } = this.#options
    const answered = await open()
    const abandon = () => void answered.destroy()
    this.over.addEventListener('abort', abandon)
    if (this.over.aborted) return abandon()
    response.writeHead(answered.statusCode ?? 0, withoutHops(answered)).flushHeaders()
    try {
      for await (const frame of alter(framesOf(answered, rewrite))) {
        if (!response.write(frame)) await once(response, 'drain', { signal: this.over })
      }
      response.end()
    } finally {
      abandon()
    }
  }
}

export async function textOf(message: IncomingMessage): Promise<string> {
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
