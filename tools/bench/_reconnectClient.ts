import { EventSource } from 'eventsource'
import { createConnection } from 'holdline'

// The server cuts the stream again and again; tells how long it took each time until the line was
// open, resumed included, in µs. The server's welcome says when it cut the stream before. A backoff
// of 0 ms still waits for a timer, which Node fires after 1 ms or more; that wait is measured and
// left out.

const [subject = '', url = '', rounds = ''] = process.argv.slice(2)
const WARM_UP = 100
const cursors = [{ sessionId: 's1', lastSeq: 7 }]
const took: number[] = []
let cutAt = 0n
let waited = 0n

function opened(connectionId: string) {
  const now = process.hrtime.bigint()
  if (cutAt > 0n) took.push(Number(now - cutAt - waited) / 1_000)
  waited = 0n
  if (took.length < Number(rounds) + WARM_UP) {
    const headers = { 'Content-Type': 'application/json', 'X-Connection-ID': connectionId }
    void fetch(`${url}/cut`, { method: 'POST', headers, body: '{}' }).then((response) => response.text())
    return
  }
  const [median = 0] = took
    .slice(WARM_UP)
    .sort((a, b) => a - b)
    .slice(Math.floor(Number(rounds) / 2))
  process.send?.({ median }, () => process.exit())
}

if (subject === 'bare') openBare()
else openHoldline()

function openBare() {
  let attempt = 0
  const source = new EventSource(`${url}/events`)
  source.addEventListener('welcome', async ({ data }) => {
    const welcome = JSON.parse(data)
    cutAt = BigInt(welcome.cutAt)
    const response = await fetch(`${url}/reconnect`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Connection-ID': welcome.connectionId },
      body: JSON.stringify({ type: 'reconnect', resumeId: `r${++attempt}`, sessions: cursors }),
    })
    const { ok } = (await response.json()) as { ok: boolean }
    if (ok) opened(welcome.connectionId)
  })
  source.addEventListener('error', () => {
    source.close()
    openBare()
  })
}

function openHoldline() {
  const connection = createConnection({
    url,
    cursors,
    backoff: { base: 0 },
    clock: {
      now: Date.now,
      setTimeout(callback, ms) {
        const since = process.hrtime.bigint()
        return setTimeout(() => {
          if (ms === 0) waited += process.hrtime.bigint() - since
          callback()
        }, ms)
      },
      clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
    },
    createEventSource(streamUrl, { fetch }) {
      const source = new EventSource(streamUrl, { fetch: (input, init) => fetch(input, init as RequestInit) })
      source.addEventListener('welcome', ({ data }) => {
        cutAt = BigInt(JSON.parse(data).cutAt)
      })
      return source
    },
  })
  connection.on('opened', ({ connectionId }) => opened(connectionId))
  connection.connect()
}
