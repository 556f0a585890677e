import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { drawChart } from '../../../tools/docs/drawChart'
import { generate, picture, readDocument } from '../../../tools/docs/statesDoc'
import { nodesOf, transitionsOf } from '../../../tools/docs/transitions'
import { connectionMachine } from '../../machine/connectionMachine'
import { outboxMachine } from '../../machine/outboxMachine'
import { ENDPOINTS, FEATURES } from '../../protocol'

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

test('docs/states.md says what the machines are: run `npm run docs` after a change', () => {
  expect(readDocument()).toBe(generate(readDocument()))
})

test('docs/states.svg is drawn from the machine: run `npm run docs` after a change', async () => {
  expect(readDocument('states.svg')).toBe(await picture())
})

test.each([connectionMachine, outboxMachine])(
  'the picture shows every state and every transition: $id',
  async (machine) => {
    const svg = await drawChart(machine)
    for (const node of nodesOf(machine.root).slice(1)) expect(svg).toContain(`data-state="${node.path.join('.')}"`)
    for (const { type, from, to } of transitionsOf(machine)) {
      const end = to ? ` data-to="${to.path.join('.')}"` : ''
      expect(svg).toContain(`data-event="${type}" data-from="${from.path.join('.')}"${end}>`)
    }
  },
)

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
