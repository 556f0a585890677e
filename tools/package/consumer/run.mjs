// Run by tools/package/checkPackage.mjs inside an empty project: connects, sends and disposes over a fake EventSource.

import assert from 'node:assert/strict'
import { createConnection } from 'holdline'

const sources = []
class FakeEventSource extends EventTarget {
  isClosed = false
  close() {
    this.isClosed = true
  }
  tell(type, message) {
    this.dispatchEvent(Object.assign(new Event(type), { data: JSON.stringify(message) }))
  }
}

const posts = []
const connection = createConnection({
  url: 'https://chat.test/api',
  createEventSource() {
    const source = new FakeEventSource()
    sources.push(source)
    return source
  },
  fetch: async (url, { headers, body }) => {
    posts.push({ url: String(url), headers: new Headers(headers), body: JSON.parse(body) })
    return Response.json({ ok: true })
  },
})

const opened = new Promise((resolve) => connection.on('opened', resolve))
const messages = []
connection.on('message', (message) => messages.push(message))

const delivery = connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' })
connection.connect()
assert.equal(connection.phase, 'connecting')
const [source] = sources
source.tell('open')
source.tell('welcome', { type: 'welcome', protocolVersion: 2, connectionId: 'c1' })
assert.deepEqual(await opened, { connectionId: 'c1', sessions: [] })
assert.equal((await delivery.settled).status, 'accepted')
assert.deepEqual(
  posts.map(({ url }) => url),
  ['https://chat.test/api/send'],
)
assert.equal(posts[0].headers.get('x-connection-id'), 'c1')

source.tell('message', { type: 'token', sessionId: 's1', seq: 1 })
source.tell('message', { type: 'token', sessionId: 's1', seq: 1 })
assert.equal(messages.length, 1)
assert.equal(connection.cursor('s1').lastSeq, 1)

assert.deepEqual(connection.cursors, [connection.cursor('s1')])
const unwatch = connection.watch('s1')
await connection.whenOpen()
unwatch()
assert.deepEqual(connection.cursors, [])

connection.dispose()
assert.equal(connection.phase, 'idle')
assert.equal(source.isClosed, true)
