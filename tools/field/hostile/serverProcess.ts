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
  const denied = new Set<string>()
  const runs = new Map<string, number>()
  const ticks: Record<string, number> = { [OWN_SESSION]: 0, [ROOM]: 0 }
  const errors: string[] = []
  let errorCount = 0
  let longestCredential = 0

  async function authenticate(request: Request) {
    const cookie = /(?:^|;\s*)who=([^;]*)/.exec(request.headers.get('Cookie') ?? '')?.[1]
    const id = request.headers.get('Authorization') ?? cookie ?? ''
    longestCredential = Math.max(longestCredential, id.length)
    if (/^(honest|mallory|friend)[\w-]*$/.test(id)) return { id }
    // As an app would hand out the number of its database.
    if (/^number-\d+$/.test(id)) return { id: Number(id.slice(7)) as unknown as string }
    if (id.startsWith('stranger')) await sleep(SLOW_LOGIN)
    return null
  }

  const may = ({ id }: Principal, sessionId: string) =>
    !denied.has(`${id} ${sessionId}`) && (sessionId.startsWith('room-') || sessionId.startsWith(`${id}-`))

  async function onCommand({ principal, type, sessionId, message, idempotencyKey, publish }: CommandCall) {
    if (principal.id === HONEST && idempotencyKey) runs.set(idempotencyKey, (runs.get(idempotencyKey) ?? 0) + 1)
    if (type === 'slow') await sleep(SLOW_COMMAND)
    if (type === 'say' && sessionId) await publish(sessionId, { type: 'said', text: message.text })
    return { took: type }
  }

  const log = kind === 'redis' ? redisLog({ url: String(redis) }) : memoryLog()
  const create = (limits: ServerLimits) =>
    createChatServer({
      log,
      authenticate,
      authorize: may,
      onCommand,
      endpoints: ENDPOINTS,
      limits,
      onError(error) {
        errorCount += 1
        errors.push(String(error).slice(0, 200))
        if (errors.length > 5) errors.shift()
      },
    })
  const { chat, reauthorizes } = withReauthorize(create)

  const ticker = startTicks(chat, ticks)
  const control: ServerControl = {
    deny: (principalId, sessionId) => void denied.add(`${principalId} ${sessionId}`),
    async revoke(principalId, sessionId) {
      const { revoke } = chat as ChatServer & Later
      await revoke?.(principalId, sessionId)
      return revoke !== undefined
    },
    reauthorizes: () => reauthorizes,
    ticks: () => ticks,
    ranTwice: () => Object.fromEntries([...runs].filter(([, count]) => count > 1)),
    longestCredential: () => longestCredential,
    connections: () => new Promise((resolve) => server.getConnections((_, count) => resolve(count))),
    epoch: async (sessionId) => (await log.head(sessionId)).epoch,
    async kept() {
      for (let look = 0; look < 3; look += 1) {
        global.gc?.()
        await sleep(30)
      }
      const { heapUsed, external } = process.memoryUsage()
      return heapUsed + external
    },
    errors: () => ({ count: errorCount, last: errors }),
    stopTicks: ticker,
  }

  const server = createAdaptorServer({
    fetch: async (request) =>
      new URL(request.url).pathname === '/control'
        ? Response.json((await answer(control, (await request.json()) as Call)) ?? null)
        : chat.fetch(request),
    createServer,
  }) as Server
  acceptSockets(server, chat)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 2_048, resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
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
