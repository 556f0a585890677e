import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { FAULTS } from '../../../tools/field/aiSdkPage/faults'
import { ANSWER, WORDS } from '../../../tools/field/aiSdkPage/model'
import { describeScreen, isWhole } from '../../../tools/field/aiSdkPage/screen'
import { formatTable, MEASURED, type Results } from '../../../tools/field/aiSdkPage/table'

const results: Results = JSON.parse(readFileSync(MEASURED, 'utf8'))

describe('the table of who loses what', () => {
  test('docs/ai-sdk.md has the one that was measured: run `npm run docs:ai-sdk` after `npm run test:field`', () => {
    expect(readFileSync(new URL('../../../docs/ai-sdk.md', import.meta.url), 'utf8')).toContain(formatTable(results))
  })

  test('every fault was measured on every stack, and holdline did what is asserted of it', () => {
    expect(results.stacks.map(({ name }) => name)).toEqual(['holdline', 'resumable', 'durable'])
    for (const { faults } of results.stacks) expect(Object.keys(faults)).toEqual(FAULTS.map(({ name }) => name))
    const [holdline] = results.stacks
    for (const { name, ours } of FAULTS) expect(holdline?.faults[name]).toEqual(ours)
  })

  test.each([
    ['whole, ready', { status: 'ready', said: ['hi'], answers: [ANSWER] }],
    ['cut, error', { status: 'error', said: ['hi'], answers: [WORDS.slice(0, 9).join('').trim()] }],
    ['garbled, ready', { status: 'ready', said: ['hi'], answers: [`${ANSWER}|${ANSWER}`] }],
    ['2 answers, ready', { status: 'ready', said: ['hi'], answers: [ANSWER, ANSWER] }],
    ['no prompt, no answer, ready', { status: 'ready', said: [], answers: [] }],
    ['the prompt 2 times, whole, ready', { status: 'ready', said: ['hi', 'hi'], answers: [ANSWER] }],
  ])('a page is told as "%s"', (told, screen) => {
    expect(describeScreen(screen)).toBe(told)
    expect(isWhole(screen)).toBe(told.endsWith('whole, ready'))
  })
})
