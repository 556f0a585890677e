import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { formatTable, MEASURED, RESULTS } from './table'

// `npm run docs:ai-sdk`, after `npm run test:field`: what that has measured becomes the table of
// docs/ai-sdk.md.

const DOC = new URL('../../../docs/ai-sdk.md', import.meta.url)
const [BEGIN, END] = ['<!-- table: written by npm run docs:ai-sdk -->', '<!-- /table -->']

copyFileSync(RESULTS, MEASURED)
const [before, rest] = readFileSync(DOC, 'utf8').split(BEGIN)
const after = rest?.split(END)[1]
if (after === undefined) throw new Error(`docs/ai-sdk.md must contain ${BEGIN} and ${END}`)
const table = formatTable(JSON.parse(readFileSync(MEASURED, 'utf8')))
writeFileSync(DOC, `${before}${BEGIN}\n${table}\n${END}${after}`)
