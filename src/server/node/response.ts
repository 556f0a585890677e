import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'

/**
 * [spec] RFC 9110 §7.6.1: they are about one connection, and Node sets its own. RFC 9113 §8.2.2:
 * HTTP/2 has none.
 */
const HOP_BY_HOP = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
])
const JSON_TYPE = /^application\/([^;]*\+)?json\b/i

/** How long a client may go on with a body that is not read, ms. */
const LINGER = 500
const HTTP2_NO_ERROR = 0
const HTTP2_INTERNAL_ERROR = 2

type Body = Uint8Array | ReadableStream<Uint8Array> | null

/**
 * Returns the body, which is still to be written. JSON is sent whole, with its length, so that
 * every browser can tell an answer that was cut off; anything else is a stream.
 */
export async function writeHead(response: Response, outgoing: ServerResponse): Promise<Body> {
  const { status, headers } = response
  const isWhole = JSON_TYPE.test(headers.get('Content-Type') ?? '')
  const body = isWhole ? new Uint8Array(await response.arrayBuffer()) : response.body
  outgoing.statusCode = status
  for (const [name, value] of headers) if (!HOP_BY_HOP.has(name)) setHeader(outgoing, name, value)
  if (body instanceof Uint8Array) outgoing.setHeader('content-length', body.byteLength)
  return body
}

/** A middleware in front may have begun these lists. */
function setHeader(outgoing: ServerResponse, name: string, value: string) {
  const before = [outgoing.getHeader(name) ?? []].flat().map(String)
  if (name === 'set-cookie') outgoing.setHeader(name, [...before, value])
  else if (name === 'vary') outgoing.setHeader(name, [...before, value].join(', '))
  else outgoing.setHeader(name, value)
}

/** Rejects with nothing: a body that fails cuts the answer off. */
export async function writeBody(body: Body, outgoing: ServerResponse, signal: AbortSignal) {
  const isStream = body !== null && 'getReader' in body
  if (outgoing.req.method === 'HEAD') {
    outgoing.end()
    if (isStream) await body.cancel().catch(() => {})
  } else if (isStream) {
    outgoing.flushHeaders()
    await pour(body, outgoing, signal)
  } else outgoing.end(body ?? undefined)
}

/** The next chunk is read when the client has taken this one. */
async function pour(body: ReadableStream<Uint8Array>, outgoing: ServerResponse, signal: AbortSignal) {
  const reader = body.getReader()
  const leave = () => void reader.cancel().catch(() => {})
  signal.addEventListener('abort', leave)
  // A stream that is ended with an error while its client takes nothing, so that nothing is read.
  reader.closed.catch(() => cut(outgoing))
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done || signal.aborted) break
      if (!outgoing.write(value)) await drained(outgoing, signal)
    }
    if (!signal.aborted) outgoing.end()
  } catch {
    leave()
    cut(outgoing)
  }
  signal.removeEventListener('abort', leave)
}

const drained = (outgoing: ServerResponse, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const goOn = () => {
      outgoing.off('drain', goOn)
      signal.removeEventListener('abort', goOn)
      resolve()
    }
    outgoing.on('drain', goOn)
    signal.addEventListener('abort', goOn)
  })

const streamOf = (outgoing: object) => (outgoing as { readonly stream?: ServerHttp2Stream }).stream

/** Not an end: the client has to see that something is missing. */
export function cut(outgoing: ServerResponse) {
  const stream = streamOf(outgoing)
  if (stream) stream.close(HTTP2_INTERNAL_ERROR)
  else outgoing.destroy()
}

/**
 * Reads on what is left of a body that was answered before its end, for a while: a connection that
 * is closed in the middle of a body becomes a reset, and the answer is lost with it.
 */
export function discardRest(incoming: IncomingMessage, outgoing: ServerResponse) {
  if (incoming.complete || incoming.destroyed) return
  const timer = setTimeout(() => {
    const stream = streamOf(outgoing)
    if (stream) stream.close(HTTP2_NO_ERROR)
    else incoming.socket.destroySoon()
  }, LINGER)
  timer.unref()
  const stop = () => clearTimeout(timer)
  incoming.once('end', stop).once('close', stop).resume()
}
