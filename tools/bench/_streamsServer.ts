import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { writeHeapSnapshot } from 'node:v8'
import { createAdaptorServer } from '@hono/node-server'
import { createChatServer } from 'holdline/server'

// A server whose memory is measured; the streams are opened by a second process of this program.
// Tells what each of them takes, in bytes. With a file as the last argument it leaves a heap
// snapshot there.

const HEARTBEAT = 15_000
/** Long enough for each stream to have had three. */
const SETTLING = 3.2 * HEARTBEAT
/** Compiled code, hidden classes and the first buffers belong to no stream. */
const WARM_UP = 250
const AT_ONCE = 50
const HEADERS = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' }
const WELCOME = 'event: welcome\ndata: {"type":"welcome","protocolVersion":2,"connectionId":"c"}\n\n'
const PING = 'data: {"type":"ping"}\n\n'

const [subject = '', , count = '', snapshot] = process.argv.slice(2)
process.on('disconnect', () => process.exit())
if (subject === 'client') openStreams(Number(count))
else await measure(Number(count))

async function measure(streams: number) {
  const server = createHost().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const program = fileURLToPath(import.meta.url)
  const client = fork(program, ['client', '', String((server.address() as AddressInfo).port)])
  const open = async (many: number) => {
    client.send(many)
    await once(client, 'message')
  }
  await open(WARM_UP)
  await sleep(1_000)
  const before = await settled()
  await open(streams)
  await sleep(SETTLING)
  const untouched = process.memoryUsage.rss()
  const after = await settled()
  client.send('pings')
  const [pings] = await once(client, 'message')
  if (snapshot) writeHeapSnapshot(snapshot)
  client.kill()
  const each = (bytes: number) => bytes / streams
  const result = {
    rss: each(after.rss - before.rss),
    heap: each(after.heap - before.heap),
    buffers: each(after.buffers - before.buffers),
    untouched: each(untouched - before.rss),
    pings,
  }
  process.send?.(result, () => process.exit())
}

/**
 * The lowest of several looks: finalizers need more than one collection, and V8 gives pages back
 * with a delay.
 */
async function settled() {
  const lowest = { rss: Number.POSITIVE_INFINITY, heap: Number.POSITIVE_INFINITY, buffers: Number.POSITIVE_INFINITY }
  for (let look = 0; look < 20; look++) {
    global.gc?.()
    await sleep(50)
    const { rss, heapUsed, external } = process.memoryUsage()
    lowest.rss = Math.min(lowest.rss, rss)
    lowest.heap = Math.min(lowest.heap, heapUsed)
    lowest.buffers = Math.min(lowest.buffers, external)
  }
  return lowest
}

function createHost() {
  if (subject === 'bare') {
    return createServer((_, response) => {
      response.writeHead(200, HEADERS)
      response.write(WELCOME)
      const pinging = setInterval(() => response.write(PING), HEARTBEAT)
      response.on('close', () => clearInterval(pinging))
    })
  }
  return createAdaptorServer({ fetch: subject === 'hono' ? answerBare : createChat().fetch })
}

/** What a stream takes of Web standards in this host, with nothing of ours. */
async function answerBare() {
  const encoder = new TextEncoder()
  let pinging: NodeJS.Timeout
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(encoder.encode(WELCOME))
      pinging = setInterval(() => controller.enqueue(encoder.encode(PING)), HEARTBEAT)
    },
    cancel: () => clearInterval(pinging),
  })
  return new Response(body, { headers: HEADERS })
}

function createChat() {
  return createChatServer({
    heartbeat: HEARTBEAT,
    authenticate: (request) => ({ id: request.headers.get('Authorization') ?? '' }),
    authorize: () => true,
    onCommand: () => null,
  })
}

/** Opens as many as it is told; on `pings` it tells how many the stream with the fewest has had. */
function openStreams(port: number) {
  const pings: number[] = []
  const open = () =>
    new Promise<void>((resolve, reject) => {
      const index = pings.push(0) - 1
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(`GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: user-${index}\r\n\r\n`)
      })
      socket.setEncoding('latin1').on('data', (text: string) => {
        if (text.includes('"ping"')) pings[index] = (pings[index] ?? 0) + 1
        if (text.includes('"welcome"')) resolve()
      })
      socket.on('error', reject)
    })
  process.on('message', async (message) => {
    if (message === 'pings') return process.send?.(Math.min(...pings))
    for (let left = Number(message); left > 0; left -= AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, left) }, open))
    }
    process.send?.('open')
  })
}
