import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from 'holdline'
import { WebSocketServer } from 'ws'

export interface Stream {
  /** One frame, as JSON or as the text to be taken for it. Resolves when there is room for more. */
  say(frame: object | string): Promise<void>
  /** Bytes of an event stream as they are. */
  raw(text: string): Promise<void>
  readonly isOver: boolean
}

export interface Asked {
  readonly endpoint: string
  readonly body: JsonObject
  readonly headers: IncomingMessage['headers']
  readonly stream: Stream | undefined
}

export interface Script {
  readonly features?: readonly string[]
  /** After its welcome. */
  onStream?(stream: Stream): void
  /** The JSON of the answer. Default: `{ ok: true }`, and the marker of a resume on the stream. */
  onPost?(asked: Asked): object | undefined
  /** Takes over a request as a whole, if it returns true. */
  onRequest?(request: IncomingMessage, response: ServerResponse): boolean
}

export interface HostileServer {
  readonly url: string
  readonly origin: string
  readonly posts: readonly Asked[]
  /** How many streams were opened. */
  readonly streams: number
  close(): Promise<void>
}

const FEATURES = ['replay-marker', 'contiguous-seq', 'watch-replay', 'probe', 'receipts', 'idempotency']

/** Speaks the protocol, over HTTP and WebSockets, but for what the script says. */
export async function startHostileServer(script: Script): Promise<HostileServer> {
  const { features = FEATURES, onStream = () => {}, onPost = () => undefined, onRequest = () => false } = script
  const posts: Asked[] = []
  let streams = 0
  let latest: Stream | undefined

  function welcome(stream: Stream) {
    streams += 1
    latest = stream
    return { type: 'welcome', protocolVersion: 2, connectionId: `hostile-${streams}`, features }
  }

  function take(endpoint: string, body: JsonObject, headers: IncomingMessage['headers'], stream = latest): object {
    const asked = { endpoint, body, headers, stream }
    posts.push(asked)
    return onPost(asked) ?? honestAnswer(asked)
  }

  const server = createServer(async (request, response) => {
    if (onRequest(request, response)) return
    const endpoint = String(request.url).split('/').pop() ?? ''
    if (endpoint === 'events') {
      const stream = overHttp(response)
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      await stream.raw(`event: welcome\ndata: ${JSON.stringify(welcome(stream))}\n\n`)
      return onStream(stream)
    }
    const answer = take(endpoint, await readJson(request), request.headers)
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer))
  })
  serveSockets(server, (stream, { id, type, endpoint, body }, headers) => {
    if (type === 'hello') return void stream.say(welcome(stream)).then(() => onStream(stream))
    const receipt = take(String(endpoint), Object(body), headers, stream)
    void stream.say({ type: 'ack', id, status: 200, receipt })
  })

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: `${origin}/api/chat`,
    origin,
    posts,
    get streams() {
      return streams
    },
    async close() {
      server.close()
      server.closeAllConnections()
      if (latest) await latest.say('').catch(() => {})
    },
  }
}

/** As the protocol has it. */
function honestAnswer({ endpoint, body, stream }: Asked): object {
  if (endpoint === 'reconnect') {
    const sessions = [body.sessions ?? []].flat().map((cursor) => {
      const { sessionId, lastSeq } = Object(cursor)
      return { sessionId, status: 'resumed', from: lastSeq, to: lastSeq }
    })
    void stream?.say({ type: 'reconnected', resumeId: body.resumeId, sessions })
    return { ok: true, sessions }
  }
  const results = [body.messages ?? []]
    .flat()
    .map((message) => ({ id: Object(message).id, status: 200, receipt: null }))
  return endpoint === 'batch' ? { results } : { ok: true }
}

type OnFrame = (stream: Stream, frame: JsonObject, headers: IncomingMessage['headers']) => void

function serveSockets(server: Server, onFrame: OnFrame) {
  const sockets = new WebSocketServer({ server, perMessageDeflate: false })
  sockets.on('connection', (socket, { headers }) => {
    const say = (frame: object | string) =>
      new Promise<void>((resolve) =>
        socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame), () => resolve()),
      )
    const stream: Stream = {
      say,
      raw: say,
      get isOver() {
        return socket.readyState !== socket.OPEN
      },
    }
    socket.on('error', () => {})
    socket.on('message', (data) => onFrame(stream, JSON.parse(String(data)), headers))
  })
}

function overHttp(response: ServerResponse): Stream {
  /** Resolves the `raw` that waits, if one does. */
  let goOn = () => {}
  const raw = async (text: string) => {
    if (response.destroyed || response.write(text)) return
    await new Promise<void>((resolve) => {
      goOn = resolve
    })
  }
  for (const event of ['drain', 'close']) response.on(event, () => goOn())
  response.on('error', () => {})
  return {
    raw,
    say: (frame) => raw(`data: ${typeof frame === 'string' ? frame : JSON.stringify(frame)}\n\n`),
    get isOver() {
      return response.destroyed
    },
  }
}

export async function readJson(request: IncomingMessage): Promise<JsonObject> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk
  try {
    return Object(JSON.parse(text))
  } catch {
    return {}
  }
}
