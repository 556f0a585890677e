import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { collectPlaces, rowOf, rowsIn } from './matrix'
import { RUNTIMES_DOC, tableIn } from './tables'

test('the rows of docs/runtimes.md are the suites that exist: `npm run docs:runtimes` writes them', async () => {
  const rows = rowsIn(tableIn(readFileSync(RUNTIMES_DOC, 'utf8'), 'matrix'))
  expect(rows).toEqual((await collectPlaces()).map(rowOf))
})
