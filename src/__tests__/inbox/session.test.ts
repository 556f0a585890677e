import { describe, expect, test } from 'vitest'
import { Backlog } from '../../inbox/backlog'
import { complaintOf, type SessionMessage, sortOf } from '../../inbox/frames'
import { Session, type Step, step } from '../../inbox/session'
import { HEAD } from '../../protocol'

const event = (seq: number, fields: object = {}): SessionMessage => ({ sessionId: 's1', seq, ...fields })
/** At 5, in epoch `a`. */
const at5 = (fields: Partial<Session> = {}) => Object.assign(new Session('s1', 5, 'a', 'app'), fields)
const PROMISED = true
const NOT_PROMISED = false

describe('frames are of four sorts', () => {
  test.each([
    ['an event of a session', { type: 'text', sessionId: 's1', seq: 1 }, 'event'],
    ['a session without a number', { type: 'typing', sessionId: 's1' }, 'plain'],
    ['a number without a session', { seq: 3 }, 'plain'],
    ['null as no session', { sessionId: null }, 'plain'],
    ['for the library', { type: 'ping' }, { type: 'ping' }],
    ['for the library in name only', { type: 'ping', sessionId: 's1', seq: 1 }, 'event'],
    ['no object', [], 'malformed'],
    ['no JSON', undefined, 'malformed'],
    ['a seq that is none', { sessionId: 's1', seq: 0 }, 'malformed'],
    ['a session that is none', { sessionId: { toString: 1 }, seq: 1 }, 'malformed'],
  ])('%s', (_, frame, sort) => {
    expect(sortOf(frame)).toEqual(sort)
  })

  test('C99: a complaint names the field and its type, and never the value', () => {
    expect(complaintOf({ sessionId: { toString: 1 }, seq: 1 }, 40)).toBe(
      'malformed sessionId (object): the event is dropped',
    )
    expect(complaintOf(undefined, 40)).toBe('no JSON object, but 40 characters')
  })
})

describe('step: the rules for an event', () => {
  const waiting = at5({ backlog: new Backlog(event(6), []) })
  const hole = (at: number, resumes: number, seen = 0) => at5({ hole: { at, resumes, seen } })

  test.each<[string, Session, SessionMessage, contiguous: Step, notPromised: Step]>([
    ['it follows the cursor', at5(), event(6), 'deliver', 'deliver'],
    ['it follows a number that was never used', at5(), event(9, { prevSeq: 5 }), 'deliver', 'deliver'],
    ['it is the cursor', at5(), event(5), 'old', 'old'],
    ['it is below the cursor', at5(), event(1, { prevSeq: 0 }), 'old', 'old'],
    ['a number is missing', at5(), event(7), 'miss', 'deliver'],
    ['the one before it is missing', at5(), event(7, { prevSeq: 6 }), 'miss', 'miss'],
    ['a hole is open', hole(5, 0, 8), event(9), 'miss', 'deliver'],
    ['it fills an open hole', hole(5, 0, 8), event(6), 'deliver', 'deliver'],
    ['two resumes in a row have ended at the hole', hole(5, 1), event(7), 'miss', 'deliver'],
    ['three have', hole(5, 2), event(7), 'skip', 'deliver'],
    ['three have, and another one is due', hole(5, 2, 7), event(8), 'miss', 'deliver'],
    ['three have ended at a hole before the cursor', hole(4, 2), event(7), 'miss', 'deliver'],
    ['it is behind what had no room', at5({ overflowedAt: 6 }), event(7), 'miss', 'miss'],
    ['it is what had no room', at5({ overflowedAt: 6 }), event(6), 'deliver', 'deliver'],
    ['it is of the same epoch', at5(), event(6, { epoch: 'a' }), 'deliver', 'deliver'],
    ['it is of another epoch, whatever its number', at5(), event(1, { epoch: 'b' }), 'turn', 'turn'],
    ['it is the first with an epoch', at5({ epoch: undefined }), event(6, { epoch: 'a' }), 'turn', 'turn'],
    ['its epoch is null, as some servers write none', at5(), event(6, { epoch: null }), 'deliver', 'deliver'],
    ['one before it waits', waiting, event(7), 'wait', 'wait'],
    ['one before it waits, and it is of another epoch', waiting, event(1, { epoch: 'b' }), 'wait', 'wait'],
  ])('%s', (_, session, message, contiguous, notPromised) => {
    const before = JSON.stringify(session)
    expect(step(session, message, PROMISED, true)).toBe(contiguous)
    expect(step(session, message, NOT_PROMISED, true)).toBe(notPromised)
    expect(JSON.stringify(session), 'step is pure').toBe(before)
  })

  test('without dedupe an old one is delivered', () => {
    expect(step(at5(), event(3), PROMISED, false)).toBe('deliver')
    expect(step(at5(), event(3, { prevSeq: 2 }), PROMISED, false)).toBe('deliver')
  })
})

describe('what happens to a hole', () => {
  test('the first sight of it asks for a resume, what else is behind it does not', () => {
    const session = at5()
    expect([7, 9, 8].map((seq) => session.miss(seq))).toEqual([true, false, false])
    expect(session).toMatchObject({ hole: { at: 5, resumes: 0, seen: 9 }, hasHole: true })
  })

  test('the event that had no room is in hand again behind a hole; another one is not that', () => {
    const session = at5({ overflowedAt: 8 })
    session.miss(7)
    expect(session.overflowedAt).toBe(8)
    session.miss(8)
    expect(session.overflowedAt).toBe(undefined)
  })

  test('C34: each resume that ends at it counts; one that moved the cursor begins anew', () => {
    const session = at5()
    for (const resumes of [0, 1, 2]) {
      session.miss(7)
      expect(session.hole?.resumes).toBe(resumes)
      session.ask()
    }
    expect(step(session, event(7), PROMISED, true)).toBe('skip')
    session.lastSeq = 6
    session.miss(9)
    expect(session.hole?.resumes).toBe(0)
  })
})

describe('a session between the app and the server', () => {
  type Change = 'letGo' | 'ask' | 'reset'
  const change = (session: Session, by: Change) => (by === 'reset' ? session.reset(3, 'b') : session[by]())
  const states = ({ wantedBy, answer }: Session) => `${wantedBy} ${answer}`

  test.each<[from: Partial<Session>, letGo: string, ask: string, reset: string]>([
    [{ wantedBy: null, answer: 'awaited' }, 'app awaited', 'null awaited', 'null given'],
    [{ wantedBy: null, answer: 'given' }, 'app given', 'null awaited', 'null given'],
    [{ wantedBy: 'app', answer: 'awaited' }, 'app awaited', 'null awaited', 'app given'],
    [{ wantedBy: 'app', answer: 'given' }, 'app given', 'null awaited', 'app given'],
    [{ wantedBy: 'server', answer: 'given' }, 'server given', 'null awaited', 'server given'],
  ])('%j', (from, ...expected) => {
    const changes: Change[] = ['letGo', 'ask', 'reset']
    const after = changes.map((by) => {
      const session = at5(from)
      change(session, by)
      return states(session)
    })
    expect(after).toEqual(expected)
  })

  test.each([
    ['it was dropped as old', at5({ maxDropped: 4 })],
    ['there was no room for it', at5({ overflowedAt: 4 })],
    ['it waits behind a message that listeners throw at', behind(4)],
  ])('a reset to before what has come makes a resume necessary: %s', (_, session) => {
    session.reset(3, 'b')
    expect(session).toMatchObject({
      wantedBy: 'server',
      lastSeq: 3,
      epoch: 'b',
      backlog: null,
      overflowedAt: undefined,
      maxDropped: 0,
    })
  })

  test('a reset to what has come does not', () => {
    const session = behind(4)
    session.reset(4, 'b')
    expect(session.wantedBy).toBe(null)
  })

  test('history is lost by a reset, unless it was never asked for', () => {
    const [some, head] = [at5(), at5({ lastSeq: HEAD })]
    for (const session of [some, head]) session.reset(8, 'b')
    expect([some.history, head.history]).toEqual(['lost', 'kept'])
  })

  test.each<[string, Partial<Session>, boolean]>([
    ['stood still', {}, true],
    ['is to be resumed', { wantedBy: 'app' }, false],
    ['has a hole', { hole: { at: 5, resumes: 0, seen: 8 } }, false],
    ['waits for a listener', { backlog: new Backlog(event(6), []) }, false],
  ])('is quiet at the second look, if no event is due: one that %s', (_, fields, isQuiet) => {
    const session = at5(fields)
    expect([session.look(), session.look()]).toEqual([false, isQuiet])
    session.lastSeq = 9
    expect(session.look()).toBe(false)
  })

  test('the lowest cursor that a stream was told is the one that old events are held against', () => {
    const session = at5()
    session.tell()
    session.lastSeq = 8
    session.ask()
    expect(session.lowestTold).toBe(5)
    session.welcome()
    expect(session.lowestTold).toBe(Number.POSITIVE_INFINITY)
  })
})

/** With this one behind a message that listeners throw at. */
function behind(seq: number) {
  const backlog = new Backlog(event(1), [])
  backlog.add(event(seq), 10)
  return at5({ backlog })
}

describe('a backlog', () => {
  test('C54: takes 256 messages, or 2 MiB, and is full from then on', () => {
    const byCount = new Backlog(event(1), [])
    const added = Array.from({ length: 257 }, (_, index) => byCount.add(event(2 + index), 1))
    expect([added.indexOf(false), added.length]).toEqual([256, 257])
    const bySize = new Backlog(event(1), [])
    expect([2_097_152, 1, 0].map((characters, index) => bySize.add(event(2 + index), characters))).toEqual([
      true,
      false,
      false,
    ])
  })

  test('knows what a replay brings again, by number and epoch', () => {
    const backlog = new Backlog(event(1), [])
    backlog.add(event(2), 1)
    expect([event(1), event(2), event(3), event(2, { epoch: 'b' })].map((one) => backlog.has(one))).toEqual([
      true,
      true,
      false,
      false,
    ])
  })
})
