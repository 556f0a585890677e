import { serverContract } from 'holdline/testing'
import { beforeAll, expect, test } from 'vitest'
import { startTalkingServer } from '../support/talkingServer'
import { PLANTED_SERVER_FAULTS, type PlantedFault } from './plantedServerFaults'

/**
 * For what does not come, ms: a slow machine needs no more, as all that is in time is waited for as
 * well.
 */
const TIMEOUT = 1_500
/** Most of the time is spent in waiting for what does not come. */
const AT_ONCE = 20

const sentences: string[] = []

/** How the case ended that the fault is for. */
async function sentenceOf([, number, tampering]: PlantedFault): Promise<string> {
  const server = await startTalkingServer(tampering)
  const found = serverContract.find((each) => each.number === number)
  const ending = found?.run({ ...server.options, timeout: TIMEOUT }).then(
    ({ outcome }) => outcome,
    ({ message }: Error) => message,
  )
  const sentence = (await ending) ?? 'no such case'
  await server.close()
  return sentence
}

beforeAll(async () => {
  const left = [...PLANTED_SERVER_FAULTS.entries()]
  const work = async () => {
    for (let next = left.shift(); next; next = left.shift()) sentences[next[0]] = await sentenceOf(next[1])
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
})

test.each(PLANTED_SERVER_FAULTS.map(([name, number, , says = /./], index) => ({ name, number, says, index })))(
  'a server is found that $name ($number)',
  ({ number, says, index }) => {
    expect(sentences[index]).toContain(`${number} says: `)
    expect(sentences[index]).toMatch(says)
  },
)

test('for each case there is a server that fails it', () => {
  const planted = new Set(PLANTED_SERVER_FAULTS.map(([, number]) => number))
  expect(serverContract.map(({ number }) => number).filter((number) => !planted.has(number))).toEqual([])
})
