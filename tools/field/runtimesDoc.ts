import { readFileSync, writeFileSync } from 'node:fs'
import { type Cell, formatTable } from './table'
import { RESULTS } from './tableReporter'

/** Writes the table of the last `npm run test:field` into docs/runtimes.md. */
const DOC = new URL('../../docs/runtimes.md', import.meta.url)
const [BEGIN, END] = ['<!-- table: written by npm run docs:runtimes -->', '<!-- /table -->']

const { at, cells }: { readonly at: string; readonly cells: readonly Cell[] } = JSON.parse(
  readFileSync(RESULTS, 'utf8'),
)
const text = readFileSync(DOC, 'utf8')
const [before, rest] = text.split(BEGIN)
const after = rest?.split(END)[1]
if (after === undefined) throw new Error(`docs/runtimes.md must contain ${BEGIN} and ${END}`)
const table = `${formatTable(cells)}\n\nMade on ${at.slice(0, 10)}, on ${process.platform}.`
writeFileSync(DOC, `${before}${BEGIN}\n${table}\n${END}${after}`)
