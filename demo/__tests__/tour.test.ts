import { expect, test } from 'vitest'
import { advance, enter, type Fact, leave, restore, save, startTour, type Tour } from '../page/tour'

const open: Fact = { type: 'phase', phase: 'open' }
const backoff: Fact = { type: 'phase', phase: 'backoff' }
const token = (turnId = 't1'): Fact => ({ type: 'token', turnId })

const running = (done = 0): Tour => ({ ...enter(startTour()), done, phase: 'open' })
const after = (tour: Tour, facts: readonly Fact[]) => facts.reduce(advance, tour)

test.each<[string, number, readonly Fact[]]>([
  ['cut the line while it types: it goes on', 0, [token(), backoff, open, token()]],
  ['… also where the rest comes before the line is open', 0, [token(), backoff, token()]],
  [
    '… also after a cut that hit the end of an answer',
    0,
    [token('t1'), backoff, open, token('t2'), backoff, token('t2')],
  ],
  ['write while it is down', 1, [backoff, { type: 'sent', id: 'm1' }, open, { type: 'accepted', id: 'm1' }]],
  ['restart the server', 2, [{ type: 'restarted' }, backoff, open]],
])('a step is done when it has happened: %s', (_, done, facts) => {
  const before = after(running(done), facts.slice(0, -1))
  expect(before.done).toBe(done)
  expect(after(before, facts.slice(-1))).toMatchObject({ state: 'running', done: done + 1 })
})

test.each<[string, number, readonly Fact[]]>([
  ['a line that was cut while nothing was said', 0, [backoff, open, token()]],
  ['the tokens of another answer', 0, [token('t1'), backoff, open, token('t2')]],
  [
    'a message that was written while the line was up',
    1,
    [
      { type: 'sent', id: 'm1' },
      { type: 'accepted', id: 'm1' },
    ],
  ],
  ['the verdict on another message', 1, [backoff, { type: 'sent', id: 'm1' }, { type: 'accepted', id: 'm0' }]],
  ['a line that was lost without a restart', 2, [backoff, open]],
])('a step is not done by %s', (_, done, facts) => {
  expect(after(running(done), facts)).toMatchObject({ state: 'running', done })
})

test('a look at the trace is the last step', () => {
  expect(advance(running(3), { type: 'looked' })).toMatchObject({ state: 'finished', done: 4 })
})

test('one that was left goes on with the step that it had come to, also after a reload; one that is finished begins again', () => {
  const left = leave(after(running(), [token(), backoff, token(), open, token()]))
  expect(left).toMatchObject({ state: 'left', done: 1 })
  expect(advance(left, { type: 'sent', id: 'm1' })).toBe(left)
  const reloaded = restore(save(left))
  expect(reloaded).toMatchObject({ state: 'left', done: 1 })
  expect(enter(reloaded)).toMatchObject({ state: 'running', done: 1 })
  expect(enter({ ...running(4), state: 'finished' })).toMatchObject({ state: 'running', done: 0 })
})

test('one that was under way is under way after a reload', () => {
  expect(restore(save(running(2)))).toMatchObject({ state: 'running', done: 2 })
})

test.each([null, '', '{', '[]', '{"state":"running"}', '{"state":"running","done":9}', '{"state":7,"done":1}'])(
  'what does not look like a tour (%j) is none',
  (json) => {
    expect(restore(json)).toEqual(startTour())
  },
)
