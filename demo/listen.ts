import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import { attachSockets } from './socket'

export const HOST = '127.0.0.1'
const MAX_TRIES = 20
/** How long what was said last, a goodbye, has to arrive when the server ends, ms. */
const GRACE = 250
/** Streams included; a page has two. */
const MAX_CONNECTIONS = 1_000

export interface Listening {
  readonly url: string
  /** Ends every connection, the streams too. */
  close(): Promise<void>
}

export interface ListenOptions {
  readonly fetch: (request: Request, env: HttpBindings) => Response | Promise<Response>
  /** 0 takes any free one. */
  readonly port: number
  readonly onTaken?: (port: number) => void
}

/** Listens on `port` or, if that is in use, on the next free one. */
export async function listen({ fetch, port, onTaken = () => {} }: ListenOptions): Promise<Listening> {
  for (let candidate = port; candidate < port + MAX_TRIES && candidate <= 65_535; candidate += 1) {
    const server = createAdaptorServer({ fetch: (request, env) => fetch(request, env as HttpBindings) })
    const cutSockets = attachSockets(server as Server, fetch)
    ;(server as Server).maxConnections = MAX_CONNECTIONS
    try {
      server.listen(candidate, HOST)
      await once(server, 'listening')
    } catch (error) {
      if (!isTaken(error)) throw error
      onTaken(candidate)
      continue
    }
    const { port: taken } = server.address() as AddressInfo
    return {
      url: `http://${HOST}:${taken}/`,
      async close() {
        const closed = once(server, 'close')
        server.close()
        const timer = setTimeout(() => {
          cutSockets()
          if ('closeAllConnections' in server) server.closeAllConnections()
        }, GRACE)
        await closed
        clearTimeout(timer)
      },
    }
  }
  throw new Error(`no free port from ${port} to ${Math.min(port + MAX_TRIES - 1, 65_535)}`)
}

const isTaken = (error: unknown) => error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
