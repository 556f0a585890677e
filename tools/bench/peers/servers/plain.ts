import { createServer, type ServerResponse } from 'node:http'
import { frame, openEventStream, pour } from './eventStream'
import { closeServer, floodOf, listen, type StartServer } from './server'

/** Server-Sent Events and nothing else: how often to come back is left to the client. */
export const startServer: StartServer = async ({ flood }) => {
  const streams = new Set<ServerResponse>()
  const server = createServer((_, response) => {
    openEventStream(response)
    streams.add(response)
    response.once('close', () => streams.delete(response))
    if (flood > 0) pour(response, floodOf(flood))
  })
  return {
    port: await listen(server),
    publish(message) {
      for (const stream of streams) stream.write(frame(message))
    },
    close: () => closeServer(server),
  }
}
