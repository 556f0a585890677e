import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { generate, readDocument } from '../../scripts/statesDoc'
import { ENDPOINTS, FEATURES } from '../protocol'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

test('docs/states.md says what the machines are: run `npm run docs` after a change', () => {
  expect(readDocument()).toBe(generate(readDocument()))
})

test('C17: there is one contract, written down: docs/protocol.md names every feature and every endpoint', () => {
  const protocol = read('docs/protocol.md')
  for (const feature of FEATURES) expect(protocol).toContain(`| \`${feature}\` |`)
  for (const [type, endpoint] of Object.entries(ENDPOINTS))
    expect(protocol).toContain(`| \`${type}\` | \`${endpoint}\` |`)
})

test('every error code is documented', () => {
  const source = read('src/errors.ts')
  const codes = [...source.matchAll(/^ {2}\| '([a-z-]+)'$/gm)].map(([, code]) => code)
  expect(codes.length).toBeGreaterThan(20)
  for (const code of codes) expect(source).toContain(` * | \`${code}\` |`)
})
