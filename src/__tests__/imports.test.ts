import { expect, test } from 'vitest'

// Not imported at the top: what throws while it loads is then a test that fails, and not a file without tests.
test.each([
  ['holdline', () => import('holdline')],
  ['holdline/machine', () => import('holdline/machine')],
  ['holdline/adapters', () => import('holdline/adapters')],
  ['holdline/adapters/websocket', () => import('holdline/adapters/websocket')],
  ['holdline/storage', () => import('holdline/storage')],
  ['holdline/server', () => import('holdline/server')],
  ['holdline/testing', () => import('holdline/testing')],
  ['holdline/chat', () => import('holdline/chat')],
])('%s loads: XState takes the machines as they are', async (_, load) => {
  await expect(load()).resolves.toBeTypeOf('object')
})
