import { readFileSync, writeFileSync } from 'node:fs'
import { collectPlaces, formatMatrix } from './matrix'
import { readResults } from './results'
import { formatTable } from './table'
import { RUNTIMES_DOC, replaceTable } from './tables'

/** Writes what the last `npm run test:field` has found into docs/runtimes.md. */
const { at, cells, suites } = readResults()
const places = await collectPlaces()
const days = suites
  .filter(({ suite }) => places.some((place) => place.suite === suite))
  .map((suite) => suite.at.slice(0, 10))
  .sort()
const [first, last] = [days[0], days.at(-1)]
const madeOn = first === last ? `on ${first}` : `from ${first} to ${last}`
let text = readFileSync(RUNTIMES_DOC, 'utf8')
if (cells.length > 0)
  text = replaceTable(text, 'table', `${formatTable(cells)}\n\nMade on ${at.slice(0, 10)}, on ${process.platform}.`)
text = replaceTable(text, 'matrix', `${formatMatrix(places, suites)}\n\nRun ${madeOn}, on ${process.platform}.`)
writeFileSync(RUNTIMES_DOC, text)
