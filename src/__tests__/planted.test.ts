import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { PLANTED } from '../../proof/planted'

test('every planted bug still has its place in the code, exactly once, and changes it', () => {
  const misplaced = PLANTED.filter(({ file, find, replace }) => {
    const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), 'utf8')
    return text.split(find).length !== 2 || find === replace
  })
  expect(misplaced.map(({ row, bug }) => `${row}: ${bug}`)).toEqual([])
  expect(PLANTED.length).toBeGreaterThanOrEqual(25)
})
