import { expect, test } from 'vitest'

// Imported within the test: for the mutation run, a file that does not load has no test that fails.

test('the definitions of both machines can be made', async () => {
  const { connectionMachine, outboxMachine } = await import('../../machine')
  expect([connectionMachine.id, outboxMachine.id]).toEqual(['connection', 'outbox'])
})
