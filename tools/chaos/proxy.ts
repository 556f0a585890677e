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
import { type Answer, type Fault, type Frames, settle } from './faults'

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
    // The end of the one before may be on its way still. And this one may be the older of the two:
    // given up, and late.
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
