import { EventSource } from 'eventsource'
import { createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'

// One flood of messages; tells what each took from the first to the last: µs of this process' CPU
// time, and of the clock.

const [subject = '', url = '', messages = ''] = process.argv.slice(2)
const expected = Number(messages)
let received = 0
let characters = 0
let firstAt = 0
let cpuBefore = process.cpuUsage()

function count(message: Record<string, unknown>) {
  if (received === 0) {
    firstAt = performance.now()
    cpuBefore = process.cpuUsage()
  }
  characters += String(message.text).length
  if (++received < expected) return
  const wall = ((performance.now() - firstAt) * 1_000) / expected
  const { user, system } = process.cpuUsage(cpuBefore)
  process.send?.({ cpu: (user + system) / expected, wall, characters }, () => process.exit())
}

if (subject === 'bare') {
  const lastSeqs = new Map<string, number>()
  const source = new EventSource(`${url}/events`)
  source.addEventListener('message', ({ data }) => {
    const message = JSON.parse(data)
    lastSeqs.set(message.sessionId, message.seq)
    count(message)
  })
} else {
  const connection = createConnection({ url, ...(subject === 'fetchStream' && { transport: fetchStreamTransport }) })
  connection.on('message', count)
  connection.connect()
}
