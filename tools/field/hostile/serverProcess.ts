import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAdaptorServer } from '@hono/node-server'
import {
  type ChatServer,
  type CommandCall,
  createChatServer,
  createWebSocketGateway,
  memoryLog,
  type Principal,
  type ServerLimits,
  type SessionLog,
} from 'holdline/server'
import { redisLog } from 'holdline/server/redis'
import { WebSocketServer } from 'ws'
import { now } from '../../load/measure'
import { answer, type Call } from '../../load/remote'
import { serveIpc } from './ipc'
import { ENDPOINTS, HONEST, OWN_SESSION, RECEIPTS, ROOM, TICK } from './names'
import type { LogKind } from './types'

// The server under attack: the real server half with an ordinary chat app on it.

const REAUTHORIZE = 1_000
const SLOW_COMMAND = 20_000
const SLOW_LOGIN = 5_000

export interface Tick {
  readonly type: 'tick'
  /** Of one session, from 1 on without a gap. */
  readonly n: number
  /** When it was due, as in `now()`. */
  readonly at: number
}

export interface ServerControl {
  /** Takes away the right to read and to write. */
  deny(principalId: string, sessionId: string): void
  /** False if the library cannot do it. */
  revoke(principalId: string, sessionId: string): Promise<boolean>
  /** Whether the library asks `authorize` again, at an interval that this server sets to 1 s. */
  reauthorizes(): boolean
  /** How many ticks each session was sent. */
  ticks(): Readonly<Record<string, number>>
  /** How often the commands of the honest client ran, by their keys, where that is not once. */
  ranTwice(): Readonly<Record<string, number>>
  /** Characters of the longest credential that `authenticate` was asked about. */
  longestCredential(): number
  connections(): Promise<number>
  epoch(sessionId: string): Promise<string>
  /** Bytes that are in use after a collection. */
  kept(): Promise<number>
  /** The last things that `onError` heard, and how many there were. */
  errors(): { readonly count: number; readonly last: readonly string[] }
  stopTicks(): void
}

export interface ServerProcess {
  /** Returns the origin. */
  start(log: LogKind, redis?: string): Promise<string>
}

/** What the library may have one day, and this server uses from that day on. */
type Later = { revoke?(principalId: string, sessionId?: string): unknown }

serveIpc({ start } satisfies { [Name in keyof ServerProcess]: ServerProcess[Name] })

async function start(kind: LogKind, redis?: string): Promise<string> {
  const { server } = new AttackedServer(kind === 'redis' ? redisLog({ url: String(redis) }) : memoryLog())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 2_048, resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

class AttackedServer {
  readonly server: Server
  readonly #chat: ChatServer
  readonly #reauthorizes: boolean
  readonly #denied = new Set<string>()
  readonly #runs = new Map<string, number>()
  readonly #ticks: Record<string, number> = { [OWN_SESSION]: 0, [ROOM]: 0 }
  readonly #errors: string[] = []
  readonly #log: SessionLog
  readonly #stopTicks: () => void
  #errorCount = 0
  #longestCredential = 0

  constructor(log: SessionLog) {
    this.#log = log
    const { chat, reauthorizes } = withReauthorize((limits) => this.#createChat(limits))
    this.#chat = chat
    this.#reauthorizes = reauthorizes
    this.#stopTicks = startTicks(chat, this.#ticks)
    this.server = createAdaptorServer({ fetch: (request) => this.#answer(request), createServer }) as Server
    acceptSockets(this.server, chat)
  }

  #control(): ServerControl {
    return {
      deny: (principalId, sessionId) => void this.#denied.add(`${principalId} ${sessionId}`),
      revoke: async (principalId, sessionId) => {
        const chat: ChatServer & Later = this.#chat
        await chat.revoke?.(principalId, sessionId)
        return chat.revoke !== undefined
      },
      reauthorizes: () => this.#reauthorizes,
      ticks: () => this.#ticks,
      ranTwice: () => Object.fromEntries([...this.#runs].filter(([, count]) => count > 1)),
      longestCredential: () => this.#longestCredential,
      connections: () => new Promise((resolve) => this.server.getConnections((_, count) => resolve(count))),
      epoch: async (sessionId) => (await this.#log.head(sessionId)).epoch,
      kept,
      errors: () => ({ count: this.#errorCount, last: this.#errors }),
      stopTicks: this.#stopTicks,
    }
  }

  async #answer(request: Request): Promise<Response> {
    if (new URL(request.url).pathname !== '/control') return this.#chat.fetch(request)
    return Response.json((await answer(this.#control(), (await request.json()) as Call)) ?? null)
  }

  #createChat(limits: ServerLimits) {
    return createChatServer({
      log: this.#log,
      authenticate: (request) => this.#authenticate(request),
      authorize: ({ id }, sessionId) =>
        !this.#denied.has(`${id} ${sessionId}`) && (sessionId.startsWith('room-') || sessionId.startsWith(`${id}-`)),
      onCommand: (call) => this.#onCommand(call),
      endpoints: ENDPOINTS,
      limits,
      onError: (error) => {
        this.#errorCount += 1
        this.#errors.push(String(error).slice(0, 200))
        if (this.#errors.length > 5) this.#errors.shift()
      },
    })
  }

  async #authenticate(request: Request): Promise<Principal | null> {
    const cookie = /(?:^|;\s*)who=([^;]*)/.exec(request.headers.get('Cookie') ?? '')?.[1]
    const id = request.headers.get('Authorization') ?? cookie ?? ''
    this.#longestCredential = Math.max(this.#longestCredential, id.length)
    if (/^(honest|mallory|friend)[\w-]*$/.test(id)) return { id }
    // As an app would hand out the number of its database.
    if (/^number-\d+$/.test(id)) return { id: Number(id.slice(7)) as unknown as string }
    if (id.startsWith('stranger')) await sleep(SLOW_LOGIN)
    return null
  }

  async #onCommand({ principal, type, sessionId, message, idempotencyKey, publish }: CommandCall) {
    const runs = this.#runs
    if (principal.id === HONEST && idempotencyKey) runs.set(idempotencyKey, (runs.get(idempotencyKey) ?? 0) + 1)
    if (type === 'slow') await sleep(SLOW_COMMAND)
    if (type === 'say' && sessionId) await publish(sessionId, { type: 'said', text: message.text })
    return { took: type }
  }
}

async function kept() {
  for (let look = 0; look < 3; look += 1) {
    global.gc?.()
    await sleep(30)
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** As docs/transports.md says. */
function acceptSockets(server: Server, chat: ChatServer) {
  const gateway = createWebSocketGateway({ fetch: chat.fetch })
  const upgrades = new WebSocketServer({ noServer: true, maxPayload: 4_194_304 })
  server.on('upgrade', (incoming, socket, head) =>
    upgrades.handleUpgrade(incoming, socket, head, (ws) => gateway.accept(ws, toRequest(incoming))),
  )
}

function toRequest({ url, headers }: IncomingMessage): Request {
  const given = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)])
  return new Request(`http://${headers.host}${url}`, { headers: given })
}

/** The newest limit is set where there is one. */
function withReauthorize(create: (limits: ServerLimits) => ChatServer) {
  const limits = { receipts: RECEIPTS }
  try {
    return { chat: create({ ...limits, reauthorize: REAUTHORIZE } as ServerLimits), reauthorizes: true }
  } catch {
    return { chat: create(limits), reauthorizes: false }
  }
}

/**
 * An event for each session each 50 ms, whatever else the process has to do: late ones were due
 * then.
 */
function startTicks(chat: ChatServer, ticks: Record<string, number>) {
  let due = now()
  const timer = setInterval(() => {
    for (; due <= now(); due += TICK) {
      for (const sessionId of Object.keys(ticks)) {
        const n = (ticks[sessionId] ?? 0) + 1
        ticks[sessionId] = n
        chat.publish(sessionId, { type: 'tick', n, at: due } satisfies Tick).catch(() => {})
      }
    }
  }, TICK / 2)
  return () => clearInterval(timer)
}
