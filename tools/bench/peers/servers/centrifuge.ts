import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { frame, openEventStream, pour } from './eventStream'
import { closeServer, floodOf, listen, type Message, readBody, type StartServer } from './server'

// The part of Centrifugo's JSON protocol that is needed here, over SSE with its bidirectional
// emulation.
// [spec] centrifugal.dev/docs/transports/client_protocol and the schema that it names, client.proto

interface Command {
  readonly id?: number
  readonly subscribe?: { readonly channel: string }
  readonly rpc?: { readonly data: { readonly id: string } }
}

/**
 * [spec] Centrifugo's `client.ping_interval`: 25 s. A client that gets none in 10 s more
 * (`maxServerPingDelay`) leaves.
 */
const PING = 25

export const startServer: StartServer = async ({ flood, onPrompt }) => {
  const streams = new Map<string, ServerResponse>()
  let streamsSoFar = 0

  function open(url: URL, response: ServerResponse) {
    const { id } = JSON.parse(url.searchParams.get('cf_connect') ?? '{}') as Command
    const session = `session-${++streamsSoFar}`
    openEventStream(response)
    const connect = { client: `client-${streamsSoFar}`, version: '6', ping: PING, pong: true, session, node: 'node-1' }
    response.write(frame({ id, connect }))
    streams.set(session, response)
    // A ping is an empty reply, and a pong an empty command.
    const pings = setInterval(() => response.write(frame({})), PING * 1_000)
    response.once('close', () => {
      clearInterval(pings)
      streams.delete(session)
    })
  }

  function run({ id, subscribe, rpc }: Command, stream: ServerResponse) {
    if (subscribe) {
      stream.write(frame({ id, subscribe: {} }))
      if (flood > 0) pour(stream, floodOf(flood).map(push))
    }
    if (rpc) {
      onPrompt(rpc.data.id)
      stream.write(frame({ id, rpc: { data: {} } }))
    }
  }

  async function emulate(request: IncomingMessage, response: ServerResponse) {
    const { session, data } = JSON.parse(await readBody(request)) as { readonly session: string; readonly data: string }
    const stream = streams.get(session)
    response.writeHead(204).end()
    if (stream) for (const line of data.split('\n')) if (line) run(JSON.parse(line), stream)
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://127.0.0.1')
    if (url.pathname === '/connection/sse') open(url, response)
    else void emulate(request, response).catch(() => response.destroy())
  })
  return {
    port: await listen(server),
    publish(message) {
      for (const stream of streams.values()) stream.write(frame(push(message)))
    },
    close: () => closeServer(server),
  }
}

const push = (data: Message) => ({ push: { channel: 'chat', pub: { data } } })
