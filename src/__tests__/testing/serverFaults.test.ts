import { serverContract } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { startTalkingServer } from '../support/talkingServer'
import { PLANTED_SERVER_FAULTS } from './plantedServerFaults'

/** For what does not come, ms: a fault is found by then or, on a slow machine, with another sentence. */
const TIMEOUT = 1_000

describe.concurrent('a server is found that', () => {
  test.each(PLANTED_SERVER_FAULTS)('%s (%s)', async (_, number, tampering, says = /./) => {
    const server = await startTalkingServer(tampering)
    const found = serverContract.find((each) => each.number === number)
    const running = found?.run({ ...server.options, timeout: TIMEOUT })
    const sentence = await running?.then(({ outcome }) => outcome, ({ message }: Error) => message)
    await server.close()
    expect(sentence).toContain(`${number} says: `)
    expect(sentence).toMatch(says)
  })
})

test('for each case there is a server that fails it', () => {
  const planted = new Set(PLANTED_SERVER_FAULTS.map(([, number]) => number))
  expect(serverContract.map(({ number }) => number).filter((number) => !planted.has(number))).toEqual([])
  expect(PLANTED_SERVER_FAULTS.length).toBeGreaterThan(serverContract.length)
})
