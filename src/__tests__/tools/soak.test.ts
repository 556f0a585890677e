import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { slopeOf } from '../../../tools/soak/measure'
import { readOptions } from '../../../tools/soak/options'

/** No machine code, which comes and goes by hundreds of kilobytes: those of `npm run soak`. */
const FLAGS = ['--expose-gc', '--no-opt', '--no-sparkplug', '--no-flush-bytecode', '--no-lazy-feedback-allocation']

const main = fileURLToPath(new URL('../../../tools/soak/main.ts', import.meta.url))

// In a process of its own: in this one the test runner fills the heap.
test('C119 C120 C121: whatever comes and goes, little is left of it', { timeout: 240_000 }, async () => {
  const args = [...FLAGS, '--import', 'tsx', main, '--quick', '--only', 'sessions,idle,leavings,strangers,sockets']
  const { stdout } = await promisify(execFile)(process.execPath, args).catch((error) => error)
  expect(stdout).toMatch(/nothing grows, nothing fails\n$/)
  expect(stdout.match(/^flat /gm)).toHaveLength(5)
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
