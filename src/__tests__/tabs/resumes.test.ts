import { describe, expect, test } from 'vitest'
import type { Cursor, JsonObject, SessionVerdict } from '../../protocol'
import { verdictOn } from '../../server/resume'
import { Resumes } from '../../tabs/resumes'
import { fakeClock } from '../../testing/harness/fakeClock'
import { settle } from '../support/fakes'

interface Log {
  first: number
  head: number
  epoch: string
}

/**
 * A server with one stream: it attaches, replays and marks as the server half does, and waits with
 * its answers where a test says so.
 */
function world(logs: Record<string, Partial<Log>> = {}) {
  const clock = fakeClock()
  const posts: JsonObject[] = []
  const frames: string[] = []
  const attached = new Map<string, number>()
  const due: (() => void)[] = []
  const all = new Map<string, Log>()
  const logOf = (sessionId: string): Log => {
    const log = all.get(sessionId) ?? { first: 1, head: 0, epoch: 'e1', ...logs[sessionId] }
    all.set(sessionId, log)
    return log
  }
  const state = { answers: 'at once' as 'at once' | 'when told' | 'never' }
  const hear = (frame: JsonObject) => {
    frames.push(`${frame.type === 'token' ? `${frame.sessionId}:${frame.seq}` : frame.resumeId}`)
    resumes.hear(frame)
  }
  const send = (sessionId: string, seq: number) =>
    hear({ type: 'token', sessionId, seq, epoch: logOf(sessionId).epoch })
  const resume = ({ sessions, resumeId }: JsonObject) => {
    const verdicts = (sessions as Cursor[]).map((cursor): SessionVerdict => {
      if (cursor.sessionId.startsWith('gone'))
        return { sessionId: cursor.sessionId, status: 'gone', from: cursor.lastSeq, to: cursor.lastSeq }
      return verdictOn(cursor, logOf(cursor.sessionId) as never)
    })
    for (const { sessionId, status, from, to } of verdicts) {
      if (status === 'gone') continue
      attached.set(sessionId, to)
      for (let seq = status === 'reset' ? to + 1 : from + 1; seq <= to; seq++) send(sessionId, seq)
    }
    hear({ type: 'reconnected', resumeId, sessions: verdicts })
    return { ok: true, sessions: verdicts }
  }
  const resumes = new Resumes({
    clock,
    timeout: 15_000,
    post: (endpoint, text) =>
      new Promise((resolve) => {
        const body = JSON.parse(text)
        posts.push(body)
        const act = () => {
          if (endpoint === 'unwatch') attached.delete(body.sessionId)
          resolve(endpoint === 'unwatch' ? { ok: true } : resume(body))
        }
        if (state.answers === 'at once') act()
        else if (state.answers === 'when told') due.push(act)
      }),
  })
  return {
    resumes,
    clock,
    posts,
    frames,
    attached,
    state,
    answer: async () => {
      due.shift()?.()
      await settle()
    },
    publish(sessionId: string) {
      const log = logOf(sessionId)
      log.head++
      if (attached.has(sessionId)) send(sessionId, log.head)
    },
    /** What was resumed, e.g. `s1@3`. */
    get resumed() {
      return posts
        .filter(({ type }) => type === 'reconnect')
        .map(({ sessions }) =>
          (sessions as Cursor[]).map(({ sessionId, lastSeq }) => `${sessionId}@${lastSeq}`).join(' '),
        )
    },
  }
}

const at = (sessionId: string, lastSeq: number, epoch?: string): Cursor =>
  epoch === undefined ? { sessionId, lastSeq } : { sessionId, lastSeq, epoch }
const told = (verdicts: readonly SessionVerdict[]) =>
  verdicts.map(({ sessionId, status, from, to }) => `${sessionId} ${status} ${from}-${to}`)

describe('resumes of several tabs on one stream', () => {
  test('a session that nobody attends is resumed from the cursor of the tab that asks', async () => {
    const it = world({ s1: { head: 9 } })
    expect(told(await it.resumes.resume('a', [at('s1', 3)]))).toEqual(['s1 resumed 3-9'])
    expect(it.resumed).toEqual(['s1@3'])
  })

  test('a tab that is level with the stream needs no POST', async () => {
    const it = world({ s1: { head: 9 } })
    await it.resumes.resume('a', [at('s1', 3)])
    expect(told(await it.resumes.resume('b', [at('s1', 9)]))).toEqual(['s1 resumed 9-9'])
    it.publish('s1')
    expect(told(await it.resumes.resume('b', [at('s1', 10)]))).toEqual(['s1 resumed 10-10'])
    expect(it.resumed).toEqual(['s1@3'])
  })

  test('a tab that is behind gets its own replay, from its cursor', async () => {
    const it = world({ s1: { head: 5 } })
    await it.resumes.resume('a', [at('s1', 5)])
    expect(told(await it.resumes.resume('b', [at('s1', 2)]))).toEqual(['s1 resumed 2-5'])
    expect(it.frames).toEqual(['t1', 's1:3', 's1:4', 's1:5', 't2'])
  })

  test('those that wait are merged: each session from the lowest cursor, one at a time', async () => {
    const it = world({ s1: { head: 9 }, s2: { head: 4 } })
    it.state.answers = 'when told'
    const first = it.resumes.resume('a', [at('s2', 4)])
    const others = Promise.all([
      it.resumes.resume('b', [at('s1', 7)]),
      it.resumes.resume('c', [at('s1', 2), at('s2', 1)]),
      it.resumes.resume('d', [at('s1', 9)]),
    ])
    expect(it.resumed).toEqual(['s2@4'])
    await it.answer()
    expect(it.resumed).toEqual(['s2@4', 's1@2 s2@1'])
    await it.answer()
    expect(told(await first)).toEqual(['s2 resumed 4-4'])
    expect((await others).map(told)).toEqual([
      ['s1 resumed 7-9'],
      ['s1 resumed 2-9', 's2 resumed 1-4'],
      ['s1 resumed 9-9'],
    ])
  })

  test('a tab that is ahead does not take the stream beyond those that are behind', async () => {
    const it = world({ s1: { head: 9 } })
    await it.resumes.resume('a', [at('s1', 3)])
    expect(told(await it.resumes.resume('b', [at('s1', 12)]))).toEqual(['s1 reset 0-9'])
    expect(it.resumed).toEqual(['s1@3', 's1@9', 's1@12'])
  })

  test('a reset of the lowest does not reset a tab whose cursor is good', async () => {
    const it = world({ s1: { first: 6, head: 9 } })
    it.state.answers = 'when told'
    const first = it.resumes.resume('z', [at('s9', 0)])
    const low = it.resumes.resume('a', [at('s1', 2)])
    const good = it.resumes.resume('b', [at('s1', 7)])
    for (let answers = 0; answers < 3; answers++) await it.answer()
    await first
    expect(told(await low)).toEqual(['s1 reset 5-9'])
    expect(told(await good)).toEqual(['s1 resumed 7-9'])
    expect(it.resumed).toEqual(['s9@0', 's1@2', 's1@7'])
    expect(it.frames.slice(-4)).toEqual(['t2', 's1:8', 's1:9', 't3'])
  })

  test('a reset that takes the stream beyond a tab is followed by a resume from where that stands', async () => {
    const it = world({ s1: { first: 6, head: 9 } })
    await it.resumes.resume('a', [at('s1', 8)])
    it.state.answers = 'when told'
    const low = it.resumes.resume('b', [at('s1', 1)])
    // It happens before the server has the POST, and is not brought by the stream any more.
    it.attached.delete('s1')
    it.publish('s1')
    await it.answer()
    expect(told(await low)).toEqual(['s1 reset 5-10'])
    expect(it.resumed).toEqual(['s1@8', 's1@1', 's1@9'])
    await it.answer()
    expect(it.frames.slice(-3)).toEqual(['t2', 's1:10', 't3'])
  })

  test('a cursor of another epoch is reset, and no other', async () => {
    const it = world({ s1: { head: 9, epoch: 'e2' } })
    await it.resumes.resume('a', [at('s1', 9, 'e2')])
    expect(told(await it.resumes.resume('b', [at('s1', 4, 'e1')]))).toEqual(['s1 reset 0-9'])
    // The server says what it still has: a tab that begins behind that hears it.
    expect(told(await it.resumes.resume('c', [at('s1', 9, 'e1')]))).toEqual(['s1 reset 0-9'])
    expect(told(await it.resumes.resume('d', [at('s1', 9, 'e2')]))).toEqual(['s1 resumed 9-9'])
  })

  test('several tabs that come back with cursors of an old epoch are each told what the server still has', async () => {
    const it = world({ s1: { first: 4, head: 9, epoch: 'e2' } })
    await it.resumes.resume('a', [at('s1', 9, 'e2')])
    it.state.answers = 'when told'
    const first = it.resumes.resume('z', [at('s9', 0)])
    const asks = [at('s1', 12, 'e1'), at('s1', 15, 'e1'), at('s1', 7, 'e2')].map((cursor, index) =>
      it.resumes.resume(`tab${index}`, [cursor]),
    )
    for (let answers = 0; answers < 6; answers++) await it.answer()
    await first
    expect((await Promise.all(asks)).map(told)).toEqual([['s1 reset 3-9'], ['s1 reset 3-9'], ['s1 resumed 7-9']])
    it.publish('s1')
    expect(it.frames.at(-1)).toBe('s1:10')
  })

  test('from now on: a cursor beyond every head is told where the head is', async () => {
    const it = world({ s1: { head: 9 } })
    expect(told(await it.resumes.resume('a', [at('s1', 2 ** 53 - 1)]))).toEqual(['s1 reset 0-9'])
    expect(told(await it.resumes.resume('b', [at('s1', 2 ** 53 - 1)]))).toEqual(['s1 reset 9-9'])
  })

  test('what is gone is gone for all, and is not attended any more', async () => {
    const it = world()
    it.state.answers = 'when told'
    const first = it.resumes.resume('z', [at('s9', 0)])
    const both = Promise.all([it.resumes.resume('a', [at('gone1', 1)]), it.resumes.resume('b', [at('gone1', 5)])])
    await it.answer()
    await it.answer()
    await first
    expect((await both).map((verdicts) => verdicts.map(({ status }) => status))).toEqual([['gone'], ['gone']])
    expect(it.resumes.sessionsOf('a')).toEqual([])
  })

  test('a session is detached when the last tab leaves it, and not before', async () => {
    const it = world({ s1: { head: 2 } })
    await it.resumes.resume('a', [at('s1', 2)])
    it.resumes.attend('b', ['s1'])
    await it.resumes.leave('a', 's1')
    expect(it.posts.filter(({ type }) => type === 'unwatch')).toEqual([])
    await it.resumes.leave('b', 's1')
    expect(it.attached.has('s1')).toBe(false)
  })

  test('a tab that comes while a session is detached attaches it again, behind that', async () => {
    const it = world({ s1: { head: 2 } })
    await it.resumes.resume('a', [at('s1', 2)])
    it.state.answers = 'when told'
    const left = it.resumes.leave('a', 's1')
    const back = it.resumes.resume('b', [at('s1', 2)])
    expect(it.posts.map(({ type }) => type)).toEqual(['reconnect', 'unwatch'])
    await it.answer()
    await it.answer()
    await Promise.all([left, back])
    expect(it.attached.has('s1')).toBe(true)
    expect(it.resumed).toEqual(['s1@2', 's1@2'])
  })

  test('after the server was told that all are away, the next resume is posted wherever the stream stands', async () => {
    const it = world({ s1: { head: 2 } })
    await it.resumes.resume('a', [at('s1', 2)])
    it.resumes.letGo()
    await it.resumes.resume('a', [at('s1', 2)])
    expect(it.resumed).toEqual(['s1@2', 's1@2'])
  })

  test('no POST carries more than 100 sessions', async () => {
    const it = world()
    it.state.answers = 'when told'
    const many = (from: number) => Array.from({ length: 60 }, (_, index) => at(`s${from + index}`, 0))
    const all = Promise.all([
      it.resumes.resume('z', [at('s', 0)]),
      it.resumes.resume('a', many(0)),
      it.resumes.resume('b', many(60)),
    ])
    for (let answers = 0; answers < 3; answers++) await it.answer()
    await all
    expect(it.posts.map(({ sessions }) => (sessions as unknown[]).length)).toEqual([1, 60, 60])
  })

  test('a round that stalls fails its asks, and the next one begins', async () => {
    const it = world()
    it.state.answers = 'never'
    const stalled = it.resumes.resume('a', [at('s1', 0)]).catch((error) => error.code)
    it.state.answers = 'at once'
    const next = it.resumes.resume('b', [at('s2', 0)])
    await it.clock.passes(20_000, settle)
    expect(await stalled).toBe('timeout')
    expect(told(await next)).toEqual(['s2 resumed 0-0'])
  })

  test('the end of the stream fails all that waits', async () => {
    const it = world()
    it.state.answers = 'never'
    const all = Promise.allSettled([it.resumes.resume('a', [at('s1', 0)]), it.resumes.resume('b', [at('s2', 0)])])
    it.resumes.end(new Error('over'))
    expect((await all).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(it.clock.pending).toEqual([])
  })
})
