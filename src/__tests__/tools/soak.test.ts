import { expect, test } from 'vitest'
import { slopeOf } from '../../../tools/soak/measure'
import { readOptions } from '../../../tools/soak/options'
import { soakQuickly } from '../../../tools/soak/quickly'

/** `npm run test:field` has more of them, `npm run soak` all. */
test('C119 C120 C121: whatever comes and goes, little is left of it', { timeout: 240_000 }, async () => {
  const told = await soakQuickly('sessions', 'leavings', 'strangers')
  expect(told).toMatch(/nothing grows, nothing fails\n$/)
  expect(told.match(/^flat /gm)).toHaveLength(3)
})

test('a slope is that of what stays, whatever stands beside it for a while', () => {
  const points = [9, 0, 2, 30, 40, 50, 61, 60, 99].map((extra, index) => ({
    iterations: 100 * index,
    bytes: 1_600 * index + (index > 2 && index < 6 ? extra * 1_000 : extra),
  }))
  expect(slopeOf(points)).toBeCloseTo(16, 0)
  expect(() => slopeOf([{ iterations: 0, bytes: 1 }])).toThrow('two points')
})

test.each<[string, readonly string[]]>([
  ['--iterations', ['--iterations', '0']],
  ['--only', ['--only', 'sends,nonsense']],
  ['--bar', ['--bar', '-1']],
  ['--redis', ['--redis', 'localhost']],
])('an option that is wrong is named: %s', (name, args) => {
  expect(() => readOptions(args)).toThrow(name)
})
