import { expect, test } from 'vitest'
import type { AgentEvent } from '../events'
import { arrive, NOTHING_YET, sizeOf } from '../page/sequence'
import { countAccepted, countEvent, countReset, startTally, type Tally, totalsOf } from '../page/tally'
import { scriptFor, tokensOf } from '../script'

const PROMPT = 'short'
const SCRIPT = scriptFor(PROMPT).flatMap((step) => (step.kind === 'text' ? tokensOf(step.text) : []))
const NONE = { lost: 0, doubled: 0, reordered: 0 }

const prompt = (number: number, received = number + 1, page = 'own'): AgentEvent => ({
  type: 'prompt',
  turnId: `t${number}`,
  text: PROMPT,
  page,
  number,
  received,
})
const begin: AgentEvent = { type: 'answer.started', turnId: 't0', run: 'r0' }
const token = (n: number, text = SCRIPT[n] ?? ''): AgentEvent => ({ type: 'token', turnId: 't0', n, text })
const end = (reason: 'finished' | 'stopped'): AgentEvent => ({ type: 'run.ended', run: 'r0', reason })
const all = SCRIPT.map((_, n) => token(n))

const after = (events: readonly AgentEvent[], tally = startTally('own')): Tally => events.reduce(countEvent, tally)
const accept = (tally: Tally, number: number, seq: number, epoch = 'e1') =>
  countAccepted(tally, { page: 'own', number }, { turnId: `t${number}`, seq, epoch })
const at = (lastSeq: number, epoch = 'e1') => ({ sessionId: 's', lastSeq, epoch })
const tokensOfTally = (events: readonly AgentEvent[]) => totalsOf(after(events), at(100)).tokens

test('a sequence knows what is missing, what came twice, and what came late', () => {
  const numbers = [0, 1, 4, 2, 4, 0]
  const sequence = numbers.reduce(arrive, NOTHING_YET)
  expect(sequence).toEqual({ next: 5, missing: [3], doubled: 2, reordered: 1 })
  expect(sizeOf(sequence)).toBe(4)
})

test('a complete answer is held against its script', () => {
  expect(SCRIPT.length).toBeGreaterThan(3)
  const arrived = SCRIPT.length
  expect(tokensOfTally([prompt(0), begin, ...all, end('finished')])).toEqual({ expected: arrived, arrived, ...NONE })
})

test('a token that never came is lost as soon as a later one has come, and at the end of a complete answer', () => {
  const gap = all.filter((_, n) => n !== 1)
  expect(tokensOfTally([prompt(0), begin, ...gap.slice(0, 2)])).toMatchObject({ expected: 3, arrived: 2, lost: 1 })
  expect(tokensOfTally([prompt(0), begin, ...gap, end('finished')])).toMatchObject({ lost: 1 })
  expect(tokensOfTally([prompt(0), begin, ...all.slice(0, -2), end('finished')])).toMatchObject({ lost: 2 })
})

test('a token that comes again is doubled, and one that comes after its successor is out of order', () => {
  const [first, second, third] = all as [AgentEvent, AgentEvent, AgentEvent]
  expect(tokensOfTally([prompt(0), begin, first, second, first, second])).toMatchObject({ arrived: 2, doubled: 2 })
  expect(tokensOfTally([prompt(0), begin, first, third, second])).toMatchObject({ ...NONE, arrived: 3, reordered: 1 })
})

test('a token with other words than the script has not arrived', () => {
  const events = [prompt(0), begin, token(0), token(1, 'other '), ...all.slice(2), end('finished')]
  expect(tokensOfTally(events)).toMatchObject({ expected: SCRIPT.length, lost: 1 })
})

test('of an answer that was stopped, or that the server has lost, the rest is not expected', () => {
  const some = [prompt(0), begin, token(0), token(1)]
  expect(tokensOfTally([...some, end('stopped')])).toMatchObject({ expected: 2, arrived: 2, lost: 0 })
  const tally = countReset(after(some))
  expect(totalsOf(tally, at(0, 'e2')).tokens).toMatchObject({ expected: 2, arrived: 2, lost: 0 })
  expect(tally.answers).toEqual({})
})

test('an accepted prompt is lost if the session has got past its echo without it', () => {
  const tally = accept(startTally('own'), 0, 5)
  expect(totalsOf(tally, at(4)).prompts).toMatchObject({ expected: 1, arrived: 0, back: 0, lost: 0 })
  expect(totalsOf(tally, at(5)).prompts).toMatchObject({ expected: 1, arrived: 0, back: 0, lost: 1 })
  // Another life of the session says nothing about it.
  expect(totalsOf(tally, at(9, 'e2')).prompts).toMatchObject({ lost: 0 })
})

test('the echo may come before the receipt or after it', () => {
  const early = accept(after([prompt(0)]), 0, 1)
  const late = after([prompt(0)], accept(startTally('own'), 0, 1))
  for (const tally of [early, late])
    expect(totalsOf(tally, at(1)).prompts).toEqual({ expected: 1, arrived: 1, back: 1, ...NONE })
})

test('a prompt that the agent has received twice is doubled, one that came behind a later one out of order', () => {
  const prompts = (events: readonly AgentEvent[]) => totalsOf(after(events), at(100)).prompts
  expect(prompts([prompt(0, 1), prompt(0, 2)])).toMatchObject({ arrived: 2, back: 1, doubled: 1 })
  expect(prompts([prompt(1, 1), prompt(0, 2)])).toMatchObject({ arrived: 2, back: 2, reordered: 1 })
})

test('prompts of other pages are theirs to count; of their answers, what comes is counted', () => {
  const tally = after([prompt(0, 1, 'other'), begin, token(0)])
  const { prompts, tokens } = totalsOf(countAccepted(tally, { page: 'other', number: 0 }, null), at(3))
  expect(prompts).toEqual({ expected: 0, arrived: 0, back: 0, ...NONE })
  expect(tokens).toMatchObject({ expected: 1, arrived: 1 })
})
