import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

// The server of all measurements, in a process of its own: plain `node:http`, so that no code of
// the library under test is on this side. The first path segment is the kind of stream, the second
// its argument.

const SESSIONS = 3
const CHUNK = 64 * 1024
const streams = new Map<string, ServerResponse>()
let streamsSoFar = 0
/**
 * When the last stream was cut, ns. `process.hrtime` is the machine's monotonic clock, so other
 * processes can compare.
 */
let cutAt = 0n

let flood = { messages: 0, bytes: Buffer.alloc(0) }
function floodOf(messages: number): Buffer {
  if (flood.messages !== messages) {
    const frames = Array.from({ length: messages }, (_, index) => {
      const seq = Math.floor(index / SESSIONS) + 1
      return `data: {"type":"token","sessionId":"session-${index % SESSIONS}","seq":${seq},"text":"tok ${index}"}\n\n`
    })
    flood = { messages, bytes: Buffer.from(frames.join('')) }
  }
  return flood.bytes
}

function stream(kind: string, argument: string, response: ServerResponse) {
  const connectionId = `c${++streamsSoFar}`
  streams.set(connectionId, response)
  response.once('close', () => streams.delete(connectionId))
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  const more = kind === 'quiet' ? { heartbeat: 60_000 } : kind === 'drain' ? { features: [argument] } : {}
  const welcome = { type: 'welcome', protocolVersion: 2, connectionId, cutAt: String(cutAt), ...more }
  response.write(`event: welcome\ndata: ${JSON.stringify(welcome)}\n\n`)
  if (kind !== 'flood') return
  const bytes = floodOf(Number(argument))
  let at = 0
  const pour = () => {
    while (at < bytes.length && response.write(bytes.subarray(at, at + CHUNK))) at += CHUNK
    at += CHUNK
  }
  response.on('drain', pour)
  pour()
}

function resultsOf(body: Buffer): string {
  const { messages } = JSON.parse(body.toString()) as { readonly messages: readonly { readonly id: string }[] }
  return JSON.stringify({ results: messages.map(({ id }) => ({ id, status: 200, receipt: { ok: true } })) })
}

async function answer(request: IncomingMessage, response: ServerResponse) {
  const [, kind = '', argument = '', endpoint = ''] = (request.url ?? '').split('/')
  if (request.method === 'GET') return stream(kind, argument, response)
  const body: Buffer[] = []
  for await (const chunk of request) body.push(chunk)
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(endpoint === 'batch' ? resultsOf(Buffer.concat(body)) : '{"ok":true}')
  if (endpoint !== 'cut') return
  const cut = streams.get(String(request.headers['x-connection-id']))
  setTimeout(() => {
    cutAt = process.hrtime.bigint()
    cut?.destroy()
  }, 2)
}

const server = createServer({ keepAliveTimeout: 600_000 }, (request, response) => void answer(request, response))
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
process.on('disconnect', () => process.exit())
