import { expect, test } from 'vitest'
import { GivingUp } from '../../outbox/givingUp'
import { Lanes } from '../../outbox/lanes'
import { createMessage } from '../support/outboxParts'

const LAST_OF_LANE = true

/** On a line that has been open since 0. */
function createGivingUp() {
  const givingUp = new GivingUp({ maxFailures: 2, maxDrops: 2, giveUpAfter: 1_000 })
  givingUp.opened(0)
  return { givingUp, message: createMessage(new Lanes().get('')) }
}

test('C61: a message that has failed often enough is tried once more when the server has taken another one', () => {
  const { givingUp, message } = createGivingUp()
  for (let times = 0; times < 2; times++) givingUp.failed(message, 0, LAST_OF_LANE)
  expect(givingUp.isExhausted(message)).toBe(true)
  givingUp.accepted()
  expect(givingUp.isExhausted(message)).toBe(false)
})

test.each([
  [999, false],
  [1_000, true],
])('C61: giveUpAfter runs from the first failure, not from the opening: after %i ms of it, %s', (age, isGivenUp) => {
  const { givingUp, message } = createGivingUp()
  givingUp.failed(message, 100, LAST_OF_LANE)
  givingUp.answered()
  expect(givingUp.failed(message, 100 + age, LAST_OF_LANE)).toBe(isGivenUp)
})

test('C61: a message that the server takes meanwhile shows that it answers, like any other POST', () => {
  const { givingUp, message } = createGivingUp()
  givingUp.failed(message, 0, LAST_OF_LANE)
  givingUp.accepted()
  expect(givingUp.failed(message, 1_000, LAST_OF_LANE)).toBe(true)
})
