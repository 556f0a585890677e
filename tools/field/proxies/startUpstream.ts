import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { type ChatServerOptions, createChatServer, type Principal } from 'holdline/server'
import { toNodeListener } from 'holdline/server/node'
import { freePort } from '../../shared/freePort'

export interface UpstreamOptions extends Partial<ChatServerOptions<Principal>> {
  /** HTTP/2 without TLS in place of HTTP/1.1. */
  readonly h2c?: boolean
  /** Its answers ask nothing of a proxy, as those of many servers. */
  readonly isBare?: boolean
}

/**
 * The server half on a host that can go away and come back on its port. A prompt's answer is what
 * the test publishes.
 */
export async function startUpstream({ h2c = false, isBare = false, ...options }: UpstreamOptions = {}) {
  const port = await freePort()
  const runs: unknown[] = []
  const errors: string[] = []
  const chat = createChatServer({
    authenticate: () => ({ id: 'somebody' }),
    authorize: () => true,
    onCommand({ message }) {
      runs.push(message.prompt)
      return { took: message.prompt }
    },
    onError: (error) => errors.push(String(error)),
    ...options,
  })
  let host: Server | Http2Server
  const sockets = new Set<Socket>()
  const sessions = new Set<ServerHttp2Session>()

  async function up() {
    const listener = toNodeListener(isBare ? { fetch: async (request) => bare(await chat.fetch(request)) } : chat)
    host = h2c ? createHttp2Server(listener) : createServer(listener)
    host.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
    host.on('session', (session: ServerHttp2Session) => {
      sessions.add(session)
      session.once('close', () => sessions.delete(session))
    })
    host.listen(port, '127.0.0.1')
    await once(host, 'listening')
  }

  /** Takes no new connection, and ends those that carry nothing; what streams goes on. */
  function refuse() {
    host.close()
    if ('closeIdleConnections' in host) host.closeIdleConnections()
    for (const session of sessions) session.goaway()
  }

  await up()
  return {
    port,
    chat,
    /** The prompts that were run. */
    runs,
    errors,
    up,
    refuse,
    down() {
      refuse()
      for (const socket of sockets) socket.destroy()
    },
    async stop() {
      await chat.close()
      this.down()
    },
  }
}

export type Upstream = Awaited<ReturnType<typeof startUpstream>>

function bare(response: Response): Response {
  for (const name of ['Cache-Control', 'X-Accel-Buffering']) response.headers.delete(name)
  return response
}
