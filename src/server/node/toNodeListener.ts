import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { refusalOf, toResponse } from '../answer'
import type { ChatServer } from '../create'
import { toRequest } from './request'
import { cut, discardRest, writeBody, writeHead } from './response'

/** Of `node:http`, or of the compatibility API of `node:http2`. */
export type NodeRequest = IncomingMessage | Http2ServerRequest
export type NodeResponse = ServerResponse | Http2ServerResponse
export type NodeListener = (request: NodeRequest, response: NodeResponse) => void

/**
 * A chat server for hosts that hand over Node's own requests: `createServer(toNodeListener(chat))`
 * of `node:http`, `node:https` and `node:http2`, `app.use('/api/chat', toNodeListener(chat))` in
 * Express, `ctx.req` and `ctx.res` in Koa, `request.raw` and `reply.raw` in Fastify
 * (docs/hosts.md).
 *
 * A body that a parser has read before is taken from `request.rawBody` or `request.body`. A request
 * without a valid host is answered 400. The listener throws nothing; what `fetch` throws is
 * answered 500, and told to the console.
 *
 * @throws TypeError if `server` has no `fetch`
 */
export function toNodeListener(server: Pick<ChatServer, 'fetch'>): NodeListener {
  if (typeof Object(server).fetch !== 'function') {
    throw new TypeError(`toNodeListener takes what createChatServer returns, and was given ${typeof server}`)
  }
  return (incoming, outgoing) => {
    // The compatibility API is that of HTTP/1.
    const response = outgoing as ServerResponse
    answer(server, incoming as IncomingMessage, response).catch((error: unknown) => {
      report(error)
      cut(response)
    })
  }
}

async function answer(server: Pick<ChatServer, 'fetch'>, incoming: IncomingMessage, outgoing: ServerResponse) {
  const leaving = new AbortController()
  const { signal } = leaving
  outgoing.once('close', () => {
    if (!outgoing.writableEnded) leaving.abort()
  })
  // A socket that dies in the middle of a write; `close` follows.
  outgoing.on('error', () => {})
  const response = await respond(server, incoming, signal)
  // Its client has gone, or the app has answered by itself, e.g. because it took too long.
  if (signal.aborted || outgoing.headersSent) return response.body?.cancel()
  await writeBody(await tryHead(response, outgoing), outgoing, signal)
  discardRest(incoming, outgoing)
}

async function respond(
  server: Pick<ChatServer, 'fetch'>,
  incoming: IncomingMessage,
  signal: AbortSignal,
): Promise<Response> {
  try {
    const response = await server.fetch(toRequest(incoming, signal))
    if (!Object(response).headers) throw new TypeError(`fetch returned no Response but ${typeof response}`)
    return response
  } catch (error) {
    return internal(error)
  }
}

/** A head that Node does not take is a fault of the server. */
async function tryHead(response: Response, outgoing: ServerResponse) {
  try {
    return await writeHead(response, outgoing)
  } catch (error) {
    return writeHead(internal(error), outgoing)
  }
}

const internal = (error: unknown) => toResponse(refusalOf(error, report))
const report = (error: unknown) => console.error('holdline: a request could not be answered.', error)
