import { createConnection, type EventSourceLike } from 'holdline'

// Queues messages and drains them, without a network; tells what one message takes, in µs. The same
// number of messages is handled whatever the length of the queue, so that neither side profits from
// warmer code.

const [, , length = '', total = ''] = process.argv.slice(2)
await run(1_000)
await run(1_000)
let spent = 0
for (let done = 0; done < Number(total); done += Number(length)) spent += await run(Number(length))
process.send?.({ micros: (spent * 1_000) / Number(total) }, () => process.exit())

async function run(many: number): Promise<number> {
  const listeners: Record<string, (event: { data?: string }) => void> = {}
  const source: EventSourceLike = {
    addEventListener(type, listener) {
      listeners[type] = listener
    },
    close() {},
  }
  const connection = createConnection({
    url: 'http://127.0.0.1/api',
    outbox: { maxMessages: Number.POSITIVE_INFINITY, maxBytes: Number.POSITIVE_INFINITY },
    fetch: async () => new Response('{}'),
    createEventSource: () => source,
  })
  const start = performance.now()
  let last = connection.send({ type: 'send', sessionId: 's1', text: 'prompt 0' })
  for (let index = 1; index < many; index++) {
    last = connection.send({ type: 'send', sessionId: 's1', text: `prompt ${index}` })
  }
  connection.connect()
  listeners.open?.({})
  listeners.welcome?.({ data: JSON.stringify({ type: 'welcome', protocolVersion: 2, connectionId: 'c1' }) })
  const { status } = await last.settled
  const took = performance.now() - start
  connection.dispose()
  if (status !== 'accepted') throw new Error(status)
  return took
}
