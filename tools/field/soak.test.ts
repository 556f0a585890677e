import { expect, test } from 'vitest'
import { soakQuickly } from '../soak/quickly'

test('C119: little is left of sessions that are watched without a stream, and of connections over WebSockets', async () => {
  const told = await soakQuickly('idle', 'sockets')
  expect(told).toMatch(/nothing grows, nothing fails\n$/)
  expect(told.match(/^flat /gm)).toHaveLength(2)
})
