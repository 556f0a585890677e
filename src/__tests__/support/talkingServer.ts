import { listen } from '../../../tools/shared/listen'
import { type ChatServer, type ChatServerOptions, createChatServer, memoryLog, type Principal } from '../../server'
import { TamperedStream } from '../../testing/contract/tamperedStream'
import type { ServerContractOptions } from '../../testing/serverContract/case'

/** How the server is made worse than it is. */
export interface Tampering {
  readonly options?: Partial<ChatServerOptions<Principal>>
  /** Stands in front of the server. */
  answer?(request: Request, next: Next, world: World): Response | Promise<Response>
  /**
   * Called for each stream: what is written in the place of a frame, without the empty line behind
   * it; '' drops it.
   */
  frames?(world: World): (frame: string) => string
  /** A stream has ended. */
  onEnd?(world: World): void
}
export type Next = (request?: Request) => Promise<Response>

/** What a tampering can reach, and where it keeps what it knows. */
export interface World {
  readonly chat: ChatServer
  readonly notes: Map<string, unknown>
  cut(): void
}

const ALICE = { Authorization: 'alice' }
const BOB = { Authorization: 'bob' }

/** What one message makes. */
const EVENTS = 3

/**
 * A chat whose sessions belong to who asks for them first. It repeats what it is told, as a run.
 */
function createChat(options: Partial<ChatServerOptions<Principal>>, onError: (error: unknown) => void): ChatServer {
  const owners = new Map<string, string>()
  let runs = 0
  return createChatServer<Principal>({
    log: memoryLog({ maxEvents: 10_000 }),
    heartbeat: 300,
    allowedHosts: 'any',
    limits: { bodyRate: 2 ** 30 },
    onError,
    authenticate({ headers }) {
      const id = headers.get('Authorization')
      return id ? { id } : null
    },
    authorize({ id }, sessionId) {
      if (!owners.has(sessionId)) owners.set(sessionId, id)
      return owners.get(sessionId) === id
    },
    async onCommand({ type, sessionId, message, publish }) {
      if (type !== 'send' || sessionId === undefined) return { took: type }
      runs += 1
      const run = `run-${runs}`
      await publish(sessionId, { type: 'run.started', run })
      await publish(sessionId, { ...message, type: 'echo' })
      await publish(sessionId, { type: 'run.ended', run, reason: 'finished' })
      return { run }
    },
    ...options,
  })
}

export const endpointOf = ({ url }: Request) => new URL(url).pathname.split('/').at(-1) ?? ''

/** The server half over real HTTP, and how it is held against the contract. */
export async function startTalkingServer(tampering: Tampering = {}) {
  const errors: string[] = []
  const chat = createChat(tampering.options ?? {}, (error) => errors.push(String(error)))
  const notes = new Map<string, unknown>()
  const world: World = { chat, notes, cut: () => http.destroySockets() }
  const serve = async (request: Request) => {
    const response = await chat.fetch(request)
    const { body, headers } = response
    const rewrite = tampering.frames?.(world)
    if (!body || !headers.get('content-type')?.startsWith('text/event-stream') || request.url.includes('?ask'))
      return response
    if (!rewrite && !tampering.onEnd) return response
    const { readable } = new TamperedStream(body, {
      isDropped: () => false,
      change: rewrite ?? ((frame) => frame),
      onEnd: () => tampering.onEnd?.(world),
    })
    return new Response(readable, response)
  }
  const http = await listen((request) => {
    const next: Next = (changed = request) => serve(changed)
    return tampering.answer ? tampering.answer(request, next, world) : next()
  })
  const options = {
    url: http.url,
    events: EVENTS,
    headers: ALICE,
    secondUser: BOB,
    goodbye: () => chat.close({ retryAfter: 0, spread: 0 }),
  } satisfies ServerContractOptions
  return {
    options,
    /** What the server did not expect. It says itself where a foreign origin comes from. */
    get surprises() {
      return errors.filter((error) => !error.includes('holdline-check.invalid'))
    },
    destroySockets: http.destroySockets,
    async close() {
      await Promise.all([chat.close(), http.close()])
    },
  }
}
