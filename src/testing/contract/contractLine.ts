import type { Transport } from '../../adapters/transport'
import type { Connection, ConnectionEvents } from '../../connection/api'
import type { ConnectionOptions } from '../../connection/options'
import { createConnection } from '../../createConnection'
import type { JsonObject } from '../../protocol'
import { type ChatServerOptions, type CommandCall, CommandRejected, createChatServer, memoryLog } from '../../server'

/** What serves a chat server over the wire that is tested. */
export interface ContractHost {
  readonly url: string
  readonly transport: Transport
  /** More options that the transport needs. */
  readonly options?: Partial<ConnectionOptions>
  /** Cuts every connection, without a word. */
  cut(): void
  /**
   * Ends what carries the stream of the client without an event, as engines do at times. What
   * carries it says so if it is asked.
   */
  hush?(): void
  close(): Promise<void>
}
export type Serve = (fetch: (request: Request) => Promise<Response>) => Promise<ContractHost>

type Next = () => Promise<Response>
type Told = {
  readonly [Name in keyof ConnectionEvents]: readonly [Name, ConnectionEvents[Name]]
}[keyof ConnectionEvents]

/** Both sides see time pass this much faster than it does. */
const SPEED = 10
const origin = Date.now()
const clock = {
  now: () => origin + SPEED * (Date.now() - origin),
  setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms / SPEED),
  clearTimeout: (timer: unknown) => clearTimeout(timer as never),
}
/** After this long what a case waits for will not come any more, ms of real time. */
const PATIENCE = 10_000

export type ContractLine = Awaited<ReturnType<typeof createContractLine>>

/**
 * A real client and the real server half, with the transport between them, and a hand in everything
 * that the server answers.
 */
export async function createContractLine(serve: Serve, options: Partial<ConnectionOptions> = {}) {
  const told: Told[] = []
  const messages: JsonObject[] = []
  const applied: CommandCall[] = []
  const requests: { readonly endpoint: string; readonly key: string | null; readonly phase: string }[] = []
  const surprises: unknown[] = []
  let streams = 0
  let body: ReturnType<typeof tamper> | undefined
  let onPost = (_endpoint: string, next: Next): Promise<Response> | Response => next()
  let onStream = (next: Next): Promise<Response> | Response => next()
  let onCommand: ChatServerOptions['onCommand'] = () => ({})
  let dropsFrame = (_frame: string) => false
  /** Of its sessions at a suspend. */
  let isKeeper = true

  const chat = createChatServer({
    log: memoryLog({ maxEvents: 10_000 }),
    clock,
    heartbeat: 15_000,
    authenticate: () => ({ id: 'somebody' }),
    authorize: (_, sessionId) => sessionId !== 'forbidden',
    async onCommand(call) {
      const receipt = await onCommand(call)
      applied.push(call)
      return receipt
    },
    onError: (error) => surprises.push(error),
  })

  /** As a server does that has not heard of `resumeId`. */
  async function detach({ url, headers: given }: Request, { sessions }: JsonObject) {
    const headers = new Headers(given)
    headers.delete('content-length')
    for (const { sessionId } of sessions as readonly JsonObject[]) {
      const body = JSON.stringify({ type: 'unwatch', sessionId })
      await chat.fetch(new Request(new URL('unwatch', url), { method: 'POST', headers, body }))
    }
  }

  async function answer(request: Request): Promise<Response> {
    const endpoint = new URL(request.url).pathname.split('/').at(-1) ?? ''
    const next = async () => {
      if (endpoint === 'suspend' && !isKeeper) await detach(request, (await request.clone().json()) as JsonObject)
      return chat.fetch(request)
    }
    if (endpoint !== 'events') {
      requests.push({ endpoint, key: request.headers.get('idempotency-key'), phase: connection.phase })
      return onPost(endpoint, next)
    }
    const response = await onStream(next)
    // A question why a stream did not open is no stream.
    if (request.url.endsWith('?ask')) return response
    if (!response.ok || !response.body) return response
    streams++
    body = tamper(
      response.body,
      (frame) => dropsFrame(frame),
      (frame) => (isKeeper ? frame : frame.replace(',"suspend-keeps"', '')),
      () => streams--,
    )
    return new Response(body.readable, response)
  }

  const host = await serve(answer)
  const connection: Connection = createConnection({
    url: host.url,
    transport: host.transport,
    clock,
    random: () => 0.5,
    pageLifecycle: false,
    backoff: { base: 200, cap: 2_000 },
    ...host.options,
    ...options,
  })
  for (const name of NAMES) connection.on(name, (event) => told.push([name, event] as Told))
  connection.on('message', (message) => messages.push(message))

  return {
    connection,
    /** Every public event but messages, oldest first. */
    told,
    messages,
    /** What came of one session. */
    seqs: (sessionId = 's1') => messages.filter((message) => message.sessionId === sessionId).map(({ seq }) => seq),
    /** The commands that were applied, oldest first. */
    applied,
    prompts: () => applied.map(({ message }) => message.prompt),
    /** Every POST that reached the server, and the phase that the connection was in. */
    requests,
    requestsTo: (endpoint: string) => requests.filter((request) => request.endpoint === endpoint),
    /** What the server did not expect. */
    surprises,
    /** Streams that the server is answering. */
    get streams() {
      return streams
    },
    publish: (sessionId: string, event: object = { type: 'token' }) => chat.publish(sessionId, event as never),
    cut: host.cut,
    hush() {
      if (!host.hush) throw new Error('no stream of this host ends without an event')
      host.hush()
    },
    /** The next POSTs are answered by this. */
    intercepts(handler: typeof onPost) {
      onPost = handler
    },
    interceptsStreams(handler: typeof onStream) {
      onStream = handler
    },
    /** From now on it is a server of somebody else's: it detaches the sessions at a suspend. */
    detaches() {
      isKeeper = false
    },
    handles(handler: typeof onCommand) {
      onCommand = handler
    },
    /** Frames that do not get through. */
    drops(isDropped: typeof dropsFrame) {
      dropsFrame = isDropped
    },
    /** A frame that the server half would not say. */
    says: (frame: object, name?: string) =>
      body?.says(`${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(frame)}\n\n`),
    saysRaw: (text: string) => body?.says(text),
    async until(what: string, holds: () => boolean) {
      const start = Date.now()
      while (!holds()) {
        if (Date.now() - start > PATIENCE) throw new Error(`${what}: never. ${connection.phase}, ${describe(told)}`)
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
    },
    async opens() {
      connection.connect()
      await this.until('open', () => connection.isOpen)
    },
    send: (prompt: string, id?: string) =>
      connection.send({ type: 'send', sessionId: 's1', prompt }, id === undefined ? {} : { id }),
    reject: (status: number, code: string): never => {
      throw new CommandRejected(status, code)
    },
    async close() {
      connection.dispose()
      await host.close()
      await chat.close()
    },
  }
}

const NAMES = ['opened', 'closed', 'stopped', 'phase', 'session', 'delivery', 'refused', 'error'] as const

const describe = (told: readonly Told[]) =>
  told
    .slice(-12)
    .map(([name, event]) => `${name} ${JSON.stringify(event)}`)
    .join('; ')

/** The stream of the server half, frame by frame. */
function tamper(
  stream: ReadableStream<Uint8Array>,
  isDropped: (frame: string) => boolean,
  change: (frame: string) => string,
  onEnd: () => void,
) {
  const reader = stream.getReader()
  const decoder = new TextDecoder()
  const encoder = new TextEncoder()
  let rest = ''
  let sink: ReadableStreamDefaultController<Uint8Array>
  let hasEnded = false
  const end = () => {
    if (!hasEnded) onEnd()
    hasEnded = true
  }
  const readable = new ReadableStream<Uint8Array>({
    start(controller) {
      sink = controller
    },
    async pull(controller) {
      try {
        for (let written = false; !written; ) {
          const { done, value } = await reader.read()
          if (done) {
            end()
            return controller.close()
          }
          const frames = (rest + decoder.decode(value, { stream: true })).split('\n\n')
          rest = frames.pop() ?? ''
          const kept = frames.filter((frame) => !isDropped(frame))
          if (!kept.length) continue
          controller.enqueue(encoder.encode(kept.map((frame) => `${change(frame)}\n\n`).join('')))
          written = true
        }
      } catch (error) {
        end()
        controller.error(error)
      }
    },
    cancel(reason) {
      end()
      return reader.cancel(reason)
    },
  })
  return { readable, says: (text: string) => hasEnded || sink.enqueue(encoder.encode(text)) }
}
