import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection } from 'holdline'

// Posts messages that stand ready in a queue, one after the other; tells how long that took, in ms,
// from the moment the stream was there.

const [subject = '', url = '', count = ''] = process.argv.slice(2)
const messages = Array.from({ length: Number(count) }, (_, index) => ({
  type: 'send' as const,
  sessionId: 's1',
  text: `prompt ${index}`,
}))

const ms = subject === 'bare' ? await drainBare() : await drainHoldline()
process.send?.({ ms }, () => process.exit())

async function drainBare(): Promise<number> {
  await warmUp()
  const start = performance.now()
  for (const message of messages) await post(message)
  return performance.now() - start
}

async function drainHoldline(): Promise<number> {
  await warmUp()
  const connection = createConnection({ url, outbox: { maxMessages: messages.length } })
  const deliveries = messages.map((message) => connection.send(message))
  let start = 0
  connection.on('phase', ({ phase }) => {
    if (phase === 'open') start = performance.now()
  })
  connection.connect()
  await Promise.all(deliveries.map(({ settled }) => settled))
  const took = performance.now() - start
  if (deliveries.some(({ status }) => status !== 'accepted')) throw new Error('not everything was accepted')
  return took
}

/** Opens the socket and warms what both sides share. */
async function warmUp() {
  for (const message of messages.slice(0, 200)) await post(message)
  await sleep(20)
}

async function post(message: object) {
  const response = await fetch(`${url}/send`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Connection-ID': 'c1', 'Idempotency-Key': crypto.randomUUID() },
    body: JSON.stringify(message),
  })
  if (!response.ok) throw new Error(`status ${response.status}`)
  return response.json()
}
