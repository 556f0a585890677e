import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { locate } from '../../proof/anchor'
import { PLANTED } from '../../proof/planted'

test('every planted bug still has its place in the code, exactly once, and changes it', () => {
  const misplaced = PLANTED.filter(({ file, replace, ...anchor }) => {
    const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), 'utf8')
    return locate(text, anchor).length !== 1 || anchor.find === replace
  })
  expect(misplaced.map(({ row, bug }) => `${row}: ${bug}`)).toEqual([])
  expect(PLANTED.length).toBeGreaterThanOrEqual(25)
})

test('a place is code in a declaration: white space may change, and what is outside does not count', () => {
  const source = `
    const f = () => { a(1);
      b() }
    class Inbox { take() { a( 1 ) } get size() { return 1 } constructor() { a(1) } }
    function g() { a(1); a(1) }`
  const at = (within: string, find = 'a(1)') =>
    locate(source, { within, find }).map(([start, end]) => source.slice(start, end))
  expect(at('f', 'a(1);b()')).toEqual(['a(1);\n      b()'])
  expect(at('Inbox.take')).toEqual(['a( 1 )'])
  expect(at('Inbox.constructor')).toEqual(['a(1)'])
  expect(at('g')).toHaveLength(2)
  expect([at('Inbox.size'), at('h'), at('f', 'c()')]).toEqual([[], [], []])
})
