import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Budget, Budgets } from '../../server/limits/budget'

describe('a budget', () => {
  test('takes no more than its limit, and what was refused leaves nothing behind', () => {
    const budget = new Budget(10)
    expect(budget.take(6)).toBe(true)
    expect(budget.take(5)).toBe(false)
    expect(budget.used).toBe(6)
    expect(budget.take(4)).toBe(true)
  })

  test('draws on its source: where that is empty, nothing is taken from either', () => {
    const source = new Budget(8)
    const own = new Budget(100, source)
    expect(own.take(9)).toBe(false)
    expect([own.used, source.used]).toEqual([0, 0])
    expect(own.take(8)).toBe(true)
    own.give(3)
    expect([own.used, source.used]).toEqual([5, 5])
  })

  test('that is closed gives everything back', () => {
    const source = new Budget(8)
    const own = new Budget(8, source)
    own.take(7)
    own.close()
    expect([own.used, source.used]).toEqual([0, 0])
  })
})

describe('the budgets of all principals', () => {
  test('C100: one principal holds an eighth of the whole at the most', () => {
    const budgets = new Budgets(80)
    expect(budgets.of('eve').take(10)).toBe(true)
    expect(budgets.of('eve').take(1)).toBe(false)
    expect(budgets.of('alice').take(10)).toBe(true)
  })

  test('end at the limit of the process, however many principals there are', () => {
    const budgets = new Budgets(80)
    for (let index = 0; index < 8; index++) expect(budgets.of(`p${index}`).take(10)).toBe(true)
    expect(budgets.of('one more').take(1)).toBe(false)
    expect(budgets.heldBy('one more')).toBe(0)
  })

  test('add up, whatever is taken, given and refused in whichever order', () => {
    const step = fc.record({ who: fc.constantFrom('a', 'b', 'c'), bytes: fc.nat(40), give: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const budgets = new Budgets(240)
        const held: Record<string, number[]> = { a: [], b: [], c: [] }
        for (const { who, bytes, give } of steps) {
          const own = held[who] ?? []
          if (give) budgets.of(who).give(own.pop() ?? 0)
          else if (budgets.of(who).take(bytes)) own.push(bytes)
          const sums = Object.entries(held).map(([id, all]) => [id, all.reduce((sum, each) => sum + each, 0)] as const)
          for (const [id, sum] of sums) {
            expect(budgets.heldBy(id)).toBe(sum)
            expect(sum).toBeLessThanOrEqual(30)
          }
          expect(budgets.process.used).toBe(sums.reduce((total, [, sum]) => total + sum, 0))
        }
      }),
    )
  })
})
