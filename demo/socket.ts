import type { IncomingMessage, Server } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { createWebSocketGateway } from 'holdline/server'
import { WebSocketServer } from 'ws'

/** What the gateway would close with 1009 need not even arrive, bytes. */
const MAX_PAYLOAD = 4_194_304

/**
 * Serves WebSockets at `…/socket`. Each is a client of `fetch` in this process, so what happens to
 * requests (the mishaps) happens to its frames. Returns what cuts them all: to the server they are
 * no connections any more.
 */
export function attachSockets(
  server: Server,
  fetch: (request: Request, env: HttpBindings) => Response | Promise<Response>,
): () => void {
  const upgrades = new WebSocketServer({ noServer: true, maxPayload: MAX_PAYLOAD })
  server.on('upgrade', (incoming, socket, head) => {
    const request = toRequest(incoming)
    if (!request) return socket.destroy()
    upgrades.handleUpgrade(incoming, socket, head, (ws) => {
      // Who hangs up on an answer hangs up on the socket that carries it.
      const outgoing = { destroy: () => ws.terminate() } as HttpBindings['outgoing']
      createWebSocketGateway({ fetch: (asked) => fetch(asked, { incoming, outgoing }) }).accept(ws, request)
    })
  })
  return () => {
    for (const ws of upgrades.clients) ws.terminate()
  }
}

/** Nothing, unless it asks for a socket: an upgrade handler that throws ends the process. */
function toRequest({ url = '', headers }: IncomingMessage): Request | undefined {
  if (!/\/socket(\?|$)/.test(url)) return undefined
  const given = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)])
  try {
    return new Request(`http://${headers.host}${url}`, { headers: given })
  } catch {
    return undefined
  }
}
