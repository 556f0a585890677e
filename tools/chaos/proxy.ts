import { once } from 'node:events'
import { Agent, request as ask, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { ProxiedExchange, textOf } from './exchange'
import { type Fault, settle } from './faults'

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
export async function startProxy(options: ProxyOptions): Promise<ChaosProxy> {
  const proxy = new ChaosProxy(options)
  await proxy.listen()
  return proxy
}

class ChaosProxy {
  readonly #options: ProxyOptions
  readonly #agent = new Agent({ keepAlive: true })
  readonly #server = createServer((request, response) => this.#take(request, response))
  readonly #streams = new Set<ServerResponse>()
  #mostStreams = 0
  /** POSTs on their way. */
  #busy = 0

  constructor(options: ProxyOptions) {
    this.#options = options
  }

  listen() {
    return new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The most streams that the client ever held at once. */
  get mostStreams(): number {
    return this.#mostStreams
  }

  /** Resolves when no POST is on its way any more, not even one that the client has given up. */
  async quiet() {
    while (this.#busy > 0) await sleep(1)
  }

  readonly close = async () => {
    this.#agent.destroy()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #take(request: IncomingMessage, response: ServerResponse) {
    const posts = Number(request.method === 'POST')
    this.#busy += posts
    await this.#handle(request, response).catch(() => request.socket.destroy())
    this.#busy -= posts
  }

  async #handle(request: IncomingMessage, response: ServerResponse) {
    const { plan, rewrite = (frame) => frame } = this.#options
    const body = await textOf(request)
    const endpoint = request.url?.split('/').at(-1) ?? ''
    const isStream = endpoint === 'events'
    const { fault = ({ pass }) => pass(), random } = plan(endpoint, body)
    const open = () => this.#open(request, body)
    const exchange = new ProxiedExchange({ request, response, isStream, random, open, rewrite })
    if (isStream) void this.#countStream(response)
    await fault(exchange)
  }

  async #open(request: IncomingMessage, body: string): Promise<IncomingMessage> {
    const { target, withhold = [] } = this.#options
    const { host, connection, 'content-length': _, ...headers } = request.headers
    for (const name of withhold) delete headers[name]
    const { method } = request
    const upstream = ask(`${target}${request.url}`, { method, headers, agent: this.#agent }).end(body)
    const [answered] = (await once(upstream, 'response')) as [IncomingMessage]
    return answered
  }

  async #countStream(response: ServerResponse) {
    this.#streams.add(response)
    response.on('close', () => this.#streams.delete(response))
    const open = [...this.#streams]
    // The end of the one before may be on its way still. And this one may be the older of the two:
    // given up, and late.
    await settle(50)
    this.#mostStreams = Math.max(this.#mostStreams, open.filter((stream) => this.#streams.has(stream)).length)
  }
}
