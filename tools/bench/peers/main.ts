import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { PEERS } from './peers'
import { run } from './run'
import { formatTables } from './table'

const USAGE = `npm run bench:peers -- [--rounds 7] [--messages 100000] [--peer NAME …] [--doc]

--rounds    how often each measurement is made, 1 to 50
--messages  of one flood, 1000 to 1000000
--peer      only this one; may be given several times
--doc       writes the table into docs/comparison.md`

const DOC = new URL('../../../docs/comparison.md', import.meta.url)
const RESULTS = new URL('../../../reports/peers.json', import.meta.url)
const [BEGIN, END] = ['<!-- table: written by npm run bench:peers -- --doc -->', '<!-- /table -->']
/** The whole run ends after so many ms, whatever happens. */
const LIMIT = 30 * 60_000

const { doc, ...options } = readArguments()
setTimeout(() => {
  console.error(`The run has taken more than ${LIMIT / 60_000} minutes: given up.`)
  process.exit(1)
}, LIMIT).unref()

const results = await run({ ...options, onProgress: (line) => console.error(line) })
mkdirSync(new URL('.', RESULTS), { recursive: true })
writeFileSync(RESULTS, `${JSON.stringify(results, null, 2)}\n`)
const table = formatTables(results)
console.log(`\n${table}`)
if (doc) writeDoc()
console.error('\nEvery single value: reports/peers.json')

function writeDoc() {
  const text = readFileSync(DOC, 'utf8')
  const [before, rest] = text.split(BEGIN)
  const after = rest?.split(END)[1]
  if (after === undefined) throw new Error(`docs/comparison.md must contain ${BEGIN} and ${END}`)
  writeFileSync(DOC, `${before}${BEGIN}\n${table}\n${END}${after}`)
}

function readArguments() {
  const option = { type: 'string' } as const
  try {
    const { values } = parseArgs({
      options: {
        rounds: option,
        messages: option,
        peer: { ...option, multiple: true },
        doc: { type: 'boolean', default: false },
      },
    })
    const unknown = values.peer?.find((name) => !PEERS.some((peer) => peer.client === name))
    if (unknown) throw new Error(`--peer: there is no ${unknown}, only ${PEERS.map(({ client }) => client).join(', ')}`)
    return {
      doc: values.doc,
      peers: PEERS.filter(({ client }) => !values.peer || values.peer.includes(client)),
      rounds: readInteger('rounds', values.rounds ?? '7', 1, 50),
      messages: readInteger('messages', values.messages ?? '100000', 1_000, 1_000_000),
    }
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`)
    process.exit(2)
  }
}

function readInteger(name: string, text: string, least: number, most: number) {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= most) return value
  throw new Error(`--${name}: a whole number from ${least} to ${most}, not "${text}"`)
}
