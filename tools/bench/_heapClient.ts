import { setTimeout as sleep } from 'node:timers/promises'
import { writeHeapSnapshot } from 'node:v8'
import { EventSource } from 'eventsource'
import { createConnection } from 'holdline'

// Opens connections that stay quiet; tells the heap that each one holds, in bytes. With a file as
// the last argument it leaves a heap snapshot there.

const [subject = '', url = '', count = '', snapshot] = process.argv.slice(2)
/** Compiled code, hidden classes and the first buffers belong to no connection. */
const WARM_UP = 100
const AT_ONCE = 50
/** Longer than the default `stableDelay`: then only what a quiet line needs is left. */
const SETTLING = 5_500
const kept: unknown[] = []

const open = subject === 'bare' ? openBare : openHoldline
await openMany(WARM_UP)
await sleep(SETTLING)
const before = await heapUsed()
await openMany(Number(count))
await sleep(SETTLING)
const bytes = ((await heapUsed()) - before) / Number(count)
if (snapshot) writeHeapSnapshot(snapshot)
process.send?.({ bytes, kept: kept.length }, () => process.exit())

async function openMany(many: number) {
  for (let opened = 0; opened < many; opened += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, many - opened) }, open))
  }
}

/** The lowest of several looks: finalizers and weak references need more than one collection. */
async function heapUsed(): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY
  for (let look = 0; look < 10; look++) {
    global.gc?.()
    await sleep(20)
    lowest = Math.min(lowest, process.memoryUsage().heapUsed)
  }
  return lowest
}

function openBare(): Promise<void> {
  return new Promise((resolve, reject) => {
    const lastSeqs = new Map<string, number>()
    const source = new EventSource(`${url}/events`)
    source.addEventListener('welcome', () => resolve())
    source.addEventListener('message', ({ data }) => {
      const message = JSON.parse(data)
      lastSeqs.set(message.sessionId, message.seq)
    })
    source.addEventListener('error', ({ message }) => reject(new Error(message)))
    kept.push({ source })
  })
}

function openHoldline(): Promise<void> {
  return new Promise((resolve) => {
    const connection = createConnection({ url })
    connection.on('message', () => {})
    const off = connection.on('opened', () => {
      off()
      resolve()
    })
    connection.connect()
    kept.push({ connection })
  })
}
