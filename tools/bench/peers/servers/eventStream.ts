import type { ServerResponse } from 'node:http'

const CHUNK = 64 * 1024

export const frame = (message: unknown) => `data: ${JSON.stringify(message)}\n\n`

export function openEventStream(response: ServerResponse) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  response.flushHeaders()
}

/** As fast as the client reads. */
export function pour(response: ServerResponse, messages: readonly unknown[]) {
  const bytes = Buffer.from(messages.map(frame).join(''))
  let at = 0
  const go = () => {
    while (at < bytes.length) {
      const isTaken = response.write(bytes.subarray(at, at + CHUNK))
      at += CHUNK
      if (!isTaken) return
    }
    response.off('drain', go)
  }
  response.on('drain', go)
  go()
}
