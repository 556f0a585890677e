import { createHarness, type Harness, sendFails } from 'holdline/testing'
import { beforeEach, expect, test } from 'vitest'
import { statusOf } from './status'

let harness: Harness
beforeEach(() => {
  harness = createHarness()
})
const status = () => statusOf(harness.connection.getSnapshot())
const sends = () => harness.connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' })

test('online is told only where nothing waits, and `sending` only where something may leave', async () => {
  expect(status()).toBe('not connected')
  sends()
  expect(status()).toBe('not connected, 1 waiting')
  harness.server.behaves({ post: () => {} })
  await harness.opens()
  expect(status()).toBe('sending 1 …')
})

test('an outage behind a line that reads open is not told as `sending`', async () => {
  await harness.opens()
  expect(status()).toBe('online')
  harness.server.behaves(sendFails({ status: 429 }))
  sends()
  await harness.settles()
  expect(harness.connection.phase).toBe('open')
  expect(status()).toMatch(/^the server takes no messages, again at \d.*, 1 waiting$/)
})

test('a lost stream tells when it is tried again, and a final stop tells why', async () => {
  await harness.opens()
  harness.stream.fails()
  sends()
  expect(status()).toMatch(/^no connection, again at \d.*, 1 waiting$/)
  harness.connection.reconnect()
  expect(status()).toBe('connecting, 1 waiting')
  harness.stream.fails(401)
  await harness.settles()
  expect(status()).toBe('not connected: the server answered 401, 1 waiting')
})
