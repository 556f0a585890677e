import { createConnection } from 'holdline'

// What one step of the flight recorder holds: a connection that has refused so many events, against
// one that has refused few.

const CONNECTIONS = 500
const STEPS = 200
const kept: unknown[] = []
const clock = { now: Date.now, setTimeout: () => 0, clearTimeout: () => {} }
const source = { addEventListener() {}, close() {} }

function connectionAfter(steps: number) {
  const connection = createConnection({ url: 'http://127.0.0.1/api', clock, createEventSource: () => source })
  connection.on('refused', () => {})
  // Two that lead somewhere for one that is refused, as on a bad day.
  for (let step = 0; step < steps; step += 3) {
    connection.connect()
    connection.connect()
    connection.disconnect()
  }
  return connection
}

async function bytesOf(steps: number): Promise<number> {
  await settled()
  const before = process.memoryUsage().heapUsed
  for (let made = 0; made < CONNECTIONS; made++) kept.push(connectionAfter(steps))
  await settled()
  return (process.memoryUsage().heapUsed - before) / CONNECTIONS
}

async function settled() {
  await new Promise(setImmediate)
  global.gc?.()
  global.gc?.()
}

await bytesOf(STEPS)
const few = await bytesOf(6)
const many = await bytesOf(STEPS)
const recorded = (steps: number) => connectionAfter(steps).trace().steps.length
process.send?.({ bytes: (many - few) / (recorded(STEPS) - recorded(6)), kept: kept.length }, () => process.exit())
