import type { JsonObject } from '../../protocol'
import { type ChatServer, type ChatServerOptions, type CommandCall, createChatServer, memoryLog } from '../../server'
import { clock } from './clock'
import { TamperedStream } from './tamperedStream'

type Intercept = (endpoint: string, next: () => Promise<Response>) => Promise<Response> | Response
type InterceptStream = (next: () => Promise<Response>) => Promise<Response> | Response
type OnCommand = ChatServerOptions['onCommand']

/** The real server half, and a hand in everything that it answers. */
export class ContractServer {
  /** The commands that were applied, oldest first. */
  readonly applied: CommandCall[] = []
  /** Every POST that reached the server, and the phase that the connection was in. */
  readonly requests: { readonly endpoint: string; readonly key: string | null; readonly phase: string }[] = []
  /** What the server did not expect. */
  readonly surprises: unknown[] = []
  /** Streams that the server is answering. */
  streams = 0
  readonly #chat: ChatServer
  readonly #phase: () => string
  #stream: TamperedStream | undefined
  #onPost: Intercept = (_, next) => next()
  #onStream: InterceptStream = (next) => next()
  #onCommand: OnCommand = () => ({})
  #isDropped = (_frame: string) => false
  /** Of its sessions at a suspend. */
  #isKeeper = true

  /** `phase`: of the connection, now. */
  constructor(phase: () => string) {
    this.#phase = phase
    this.#chat = createChatServer({
      log: memoryLog({ maxEvents: 10_000 }),
      clock,
      heartbeat: 15_000,
      authenticate: () => ({ id: 'somebody' }),
      authorize: (_, sessionId) => sessionId !== 'forbidden',
      onCommand: async (call) => {
        const receipt = await this.#onCommand(call)
        this.applied.push(call)
        return receipt
      },
      onError: (error) => this.surprises.push(error),
    })
  }

  readonly answer = async (request: Request): Promise<Response> => {
    const endpoint = new URL(request.url).pathname.split('/').at(-1) ?? ''
    if (endpoint === 'events') return this.#answerStream(request)
    this.requests.push({ endpoint, key: request.headers.get('idempotency-key'), phase: this.#phase() })
    return this.#onPost(endpoint, async () => {
      if (endpoint === 'suspend' && !this.#isKeeper)
        await this.#detach(request, (await request.clone().json()) as JsonObject)
      return this.#chat.fetch(request)
    })
  }

  requestsTo(endpoint: string) {
    return this.requests.filter((request) => request.endpoint === endpoint)
  }

  prompts() {
    return this.applied.map(({ message }) => message.prompt)
  }

  publish(sessionId: string, event: object = { type: 'token' }) {
    return this.#chat.publish(sessionId, event as never)
  }

  /** The next POSTs are answered by this. */
  intercepts(handler: Intercept) {
    this.#onPost = handler
  }

  interceptsStreams(handler: InterceptStream) {
    this.#onStream = handler
  }

  handles(handler: OnCommand) {
    this.#onCommand = handler
  }

  /** From now on it is a server of somebody else's: it detaches the sessions at a suspend. */
  detaches() {
    this.#isKeeper = false
  }

  /** Frames that do not get through. */
  drops(isDropped: (frame: string) => boolean) {
    this.#isDropped = isDropped
  }

  /** A frame that the server half would not say. */
  says(frame: object, name?: string) {
    this.saysRaw(`${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(frame)}\n\n`)
  }

  saysRaw(text: string) {
    this.#stream?.says(text)
  }

  close() {
    return this.#chat.close()
  }

  async #answerStream(request: Request): Promise<Response> {
    const response = await this.#onStream(async () => this.#chat.fetch(request))
    // A question why a stream did not open is no stream.
    if (request.url.endsWith('?ask') || !response.ok || !response.body) return response
    this.streams++
    this.#stream = new TamperedStream(response.body, {
      isDropped: (frame) => this.#isDropped(frame),
      change: (frame) => (this.#isKeeper ? frame : frame.replace(',"suspend-keeps"', '')),
      onEnd: () => this.streams--,
    })
    return new Response(this.#stream.readable, response)
  }

  /** As a server does that has not heard of `resumeId`. */
  async #detach({ url, headers: given }: Request, { sessions }: JsonObject) {
    const headers = new Headers(given)
    headers.delete('content-length')
    for (const { sessionId } of sessions as readonly JsonObject[]) {
      const body = JSON.stringify({ type: 'unwatch', sessionId })
      await this.#chat.fetch(new Request(new URL('unwatch', url), { method: 'POST', headers, body }))
    }
  }
}
