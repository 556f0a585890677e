import { expect, test } from 'vitest'
import { addChapter, type Chapter, lossesOf, tellLoss } from '../page/chapter'
import { apply, EMPTY, lose, startTurn } from '../page/transcript'

const turns = [
  startTurn('t1', 'one', 'done'),
  { ...startTurn('t2', 'two', 'answering'), blocks: [{ kind: 'text', text: 'half a' } as const] },
  startTurn('t3', 'three'),
  startTurn('t4', 'four'),
]

test('a server that loses a session cuts off what it says, and never answers what waits; nothing vanishes', () => {
  const lost = lose({ turns })
  expect(lost.map(({ prompt, status }) => [prompt, status])).toEqual([
    ['one', 'done'],
    ['two', 'cut'],
    ['three', 'lost'],
    ['four', 'lost'],
  ])
  expect(lost[1]?.blocks).toEqual(turns[1]?.blocks)
  expect(lossesOf([{ turns: lost, why: '' }], [])).toEqual({ cut: 1, lost: 2 })
})

test('the loss is told in plain words, with its numbers', () => {
  expect(tellLoss({ turns: lose({ turns }), isRestart: true, queued: 1 })).toBe(
    'The server restarted and lost this conversation. 1 answer was cut off, and 2 accepted messages have no answer. ' +
      'This page still shows what it had received. 1 message that was not delivered yet will be.',
  )
  expect(tellLoss({ turns: turns.slice(0, 1), isRestart: true, queued: 0 })).toBe(
    'The server restarted and lost this conversation. No answer was under way. This page still shows what it had received.',
  )
  expect(tellLoss({ turns: [], isRestart: false, queued: 0 })).toMatch(/^The server no longer has the beginning/)
})

test('an answer whose process is gone was cut off, as its run says', () => {
  const transcript = (
    [
      { type: 'prompt', turnId: 't1', text: 'one' },
      { type: 'answer.started', turnId: 't1', run: 'r1' },
      { type: 'run.ended', run: 'r1', reason: 'interrupted' },
    ] as const
  ).reduce(apply, EMPTY)
  expect(transcript.turns[0]?.status).toBe('cut')
})

test('the last chapters are kept', () => {
  const many = Array.from({ length: 30 }, (_, index) => ({ turns: [], why: String(index) }))
  const kept = many.reduce<readonly Chapter[]>(addChapter, [])
  expect(kept).toHaveLength(20)
  expect(kept.at(-1)?.why).toBe('29')
})
