import type { TraceStep } from 'holdline'
import { expect, test } from 'vitest'
import { momentAfter, outwards, type Way, waysOf } from '../page/moment'

const STREAMING = 'active.streaming'
const TIMEOUT = 'xstate.after.resumeTimeout.connection.active.streaming.reconnecting.posting'

const ways: readonly Way[] = [
  { event: 'connect', from: 'idle', to: 'active' },
  { event: 'disconnect', from: 'active', to: 'idle' },
  { event: 'reconnect', from: 'active', to: STREAMING },
  { event: 'stream.welcomed', from: STREAMING, to: `${STREAMING}.reconnecting` },
  { event: 'stream.welcomed', from: STREAMING, to: `${STREAMING}.open` },
  { event: 'stream.failed', from: STREAMING, to: 'active.backoff' },
  { event: 'resume.succeeded', from: `${STREAMING}.reconnecting.posting`, to: `${STREAMING}.reconnecting` },
  { event: 'resume.succeeded', from: `${STREAMING}.reconnecting.posting`, to: `${STREAMING}.open` },
  { event: TIMEOUT, from: `${STREAMING}.reconnecting.posting`, to: 'active.backoff' },
  { event: 'after stable', from: `${STREAMING}.open.steady`, to: undefined },
  { event: '', from: 'active.backoff', to: 'idle' },
]

const step = (at: number, event: string, from: string, to: string, rest: Partial<TraceStep> = {}): TraceStep => ({
  at,
  machine: 'connection',
  event,
  from,
  to,
  refused: false,
  attempt: 0,
  fruitless: 0,
  resumes: 0,
  features: [],
  heartbeat: null,
  ...rest,
})
const CONNECT = step(1, 'connect', 'idle', `${STREAMING}.connecting`)
const WELCOME = step(2, 'stream.welcomed', `${STREAMING}.connecting`, `${STREAMING}.reconnecting.posting`)
const OPEN = step(3, 'resume.succeeded', `${STREAMING}.reconnecting.posting`, `${STREAMING}.open.steady`)

const since = (steps: readonly TraceStep[]) => Object.fromEntries(momentAfter(steps, ways, 'idle').since)

test('outwards are the states around a state, the machine itself last', () => {
  expect(outwards('a.b.c')).toEqual(['a.b.c', 'a.b', 'a', ''])
})

test('where it led to tells which of several transitions was taken', () => {
  expect(waysOf(WELCOME, ways)).toEqual([ways[3]])
  expect(waysOf({ ...WELCOME, to: `${STREAMING}.open.steady` }, ways)).toEqual([ways[4]])
  expect(waysOf(OPEN, ways)).toEqual([ways[7]])
})

test('an `always` that led on is a way as well', () => {
  expect(waysOf(step(4, 'stream.failed', `${STREAMING}.connecting`, 'idle'), ways)).toEqual([ways[5], ways[10]])
})

test('a refused event took no way, and what was taken before it stays the last', () => {
  const refused = step(5, 'wake', OPEN.to, OPEN.to, { refused: true })
  expect(waysOf(refused, ways)).toEqual([])
  expect(momentAfter([CONNECT, WELCOME, OPEN, refused], ways, 'idle')).toMatchObject({
    state: OPEN.to,
    step: refused,
    ways: [ways[7]],
  })
})

test('a state is as old as its last entry: one around it stays, one that is entered anew is new', () => {
  expect(since([CONNECT, WELCOME])).toMatchObject({
    active: 1,
    [STREAMING]: 1,
    [`${STREAMING}.reconnecting`]: 2,
    [`${STREAMING}.reconnecting.posting`]: 2,
  })
  const again = step(4, 'resume.succeeded', WELCOME.to, WELCOME.to)
  expect(since([CONNECT, WELCOME, again])).toMatchObject({
    [STREAMING]: 1,
    [`${STREAMING}.reconnecting`]: 4,
    [`${STREAMING}.reconnecting.posting`]: 4,
  })
  const reconnect = step(5, 'reconnect', WELCOME.to, `${STREAMING}.connecting`)
  expect(since([CONNECT, WELCOME, reconnect])).toMatchObject({ active: 1, [STREAMING]: 5 })
})

test('a step that only acts begins nothing anew', () => {
  const acted = step(9, 'after stable', OPEN.to, OPEN.to)
  expect(since([CONNECT, WELCOME, OPEN, acted])).toEqual(since([CONNECT, WELCOME, OPEN]))
})

test('before the first step it is where the machine begins', () => {
  expect(momentAfter([], ways, 'idle')).toMatchObject({ state: 'idle', step: undefined, ways: [], delay: undefined })
})
