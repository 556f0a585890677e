import { type Connection, type ConnectionOptions, createConnection } from 'holdline'
import { expect } from 'vitest'

/** A slow machine needs seconds; what does not come in this time does not come. */
export const SOON = { timeout: 60_000, interval: 10 }

/**
 * A client in the place of a page that was served by the proxy: its requests carry what a browser's
 * would.
 */
export function openLine(origin: string, site: 'same-origin' | undefined, options: Partial<ConnectionOptions> = {}) {
  const posts: string[] = []
  const events: unknown[] = []
  const lifecycle: string[] = []
  const connection: Connection = createConnection({
    url: `${origin}/api/chat`,
    headers: { Origin: origin, ...(site && { 'Sec-Fetch-Site': site }) },
    backoff: { base: 50, cap: 300 },
    async fetch(input, init) {
      const response = await fetch(input, init)
      const endpoint = String(input).split('/').at(-1)
      posts.push(`${endpoint} ${response.status}`)
      return response
    },
    ...options,
  })
  connection.on('message', ({ n }) => events.push(n))
  connection.on('opened', () => lifecycle.push('opened'))
  connection.on('closed', ({ reason }) => lifecycle.push(`closed ${reason}`))
  connection.on('error', () => {})
  connection.connect()
  return {
    connection,
    /** Endpoint and status of each answered POST. */
    posts,
    /** The `n` of each event. */
    events,
    lifecycle,
    opens: () => expect.poll(() => connection.phase, SOON).toBe('open'),
    send: (prompt: string) => connection.send({ type: 'send', sessionId: 's1', prompt }),
  }
}
