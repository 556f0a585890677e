import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import type { OutboxLimits } from '../../connection/limits'
import { ConnectionError } from '../../errors'
import type { UpstreamEvent } from '../../machine/types'
import { BatchSize } from '../../outbox/batchSize'
import type { Desk } from '../../outbox/desk'
import { Ends } from '../../outbox/ends'
import { Flight, type Gate } from '../../outbox/flight'
import { GivingUp } from '../../outbox/givingUp'
import type { Ending } from '../../outbox/judge'
import { Lanes } from '../../outbox/lanes'
import type { Message } from '../../outbox/message'
import { StreamTrust } from '../../outbox/streamTrust'
import { createMessage, createSettings, gateOf } from '../support/outboxParts'

const OLD = gateOf({ connectionId: 'c0' })
const INTERNAL = toHttpError(500, 'internal')
const LOST = new ConnectionError('network', 'lost')
const HOOK_FAILED = new ConnectionError('hook-failed', 'the vault is locked')

/** A message is given up after two failures, or after a second. */
function createEnds(limits: Partial<OutboxLimits> = {}) {
  const { clock, settings } = createSettings({ outbox: { maxFailures: 2, giveUpAfter: 1_000, ...limits } })
  const facts: UpstreamEvent[] = []
  const errors: string[] = []
  const ended: Ending[] = []
  const givenUp: Message[] = []
  const desk: Desk = {
    end(message, ending) {
      message.end(ending)
      ended.push(ending)
    },
    giveUp: (message) => void givenUp.push(message),
    mayPost: () => true,
    starting() {},
    cancelledBy: () => [],
    waits() {},
    changed() {},
    report: ({ code }) => void errors.push(code),
    tellMachine: (fact) => void facts.push(fact),
    crash(cause) {
      throw cause
    },
  }
  const lanes = new Lanes()
  const givingUp = new GivingUp(settings.outbox)
  const trust = new StreamTrust(desk.tellMachine)
  let current = gateOf()
  const isCurrent = ({ connectionId }: Gate) => connectionId === current.connectionId
  const ends = new Ends({ settings, desk, lanes, givingUp, trust, batchSize: new BatchSize(), isCurrent })

  /** A stream that has answered a POST already. */
  const opens = (gate: Gate) => {
    current = gate
    trust.begin(gate)
    trust.taken('mode', gate)
  }
  trust.begin(current)
  givingUp.opened(clock.now())
  return {
    clock,
    lanes,
    givingUp,
    trust,
    facts,
    errors,
    ended,
    givenUp,
    opens,
    /** One that has been posted once, unless the fields say otherwise. */
    message(lane = '', fields: Partial<Message> = {}) {
      const message = createMessage(lanes.get(lane), { attempts: 1, ...fields })
      lanes.enter(message, 'last')
      return message
    },
    /** The POST of a message alone. */
    one(message: Message, outcome: unknown, gate = current) {
      givingUp.posted(message)
      ends.one(message, new Flight(gate, [message]), outcome)
    },
    batch(messages: readonly Message[], outcome: unknown, gate = current) {
      ends.batch(new Flight(gate, messages), outcome)
    },
  }
}

test('C61: a batch that is told to wait holds up all lanes, and one that only failed those it carried', () => {
  for (const [error, heldUp] of [
    [toHttpError(503, undefined, 5_000), true],
    [INTERNAL, false],
  ] as const) {
    const { message, batch, lanes } = createEnds()
    batch([message('a'), message('a')], error)
    expect([lanes.retryAt(lanes.get('a')) !== null, lanes.retryAt(lanes.get('c')) !== null]).toEqual([true, heldUp])
  }
})

describe('C61: a message is given up', () => {
  test('for failures of its own, and not because another one has to go first', () => {
    const { message, one, givingUp, givenUp } = createEnds()
    const early = message('early')
    const failing = message('failing')
    for (let times = 0; times < 3; times++) {
      one(early, toHttpError(425))
      one(failing, INTERNAL)
      givingUp.accepted()
    }
    expect(givenUp).toContain(failing)
    expect(givenUp).not.toContain(early)
  })

  test('for POSTs that left, and not because its headers hook fails', () => {
    const { message, one, givingUp, givenUp } = createEnds()
    const waiting = message('', { attempts: 0 })
    for (let times = 0; times < 3; times++) {
      one(waiting, HOOK_FAILED)
      givingUp.accepted()
    }
    expect(givenUp).toEqual([])
  })

  test('because the server takes others: one that it refuses proves nothing, not even the stream', () => {
    const { message, one, givenUp, ended, trust } = createEnds()
    const bad = message('bad')
    one(bad, INTERNAL)
    one(message('refused'), toHttpError(403))
    expect(ended).toMatchObject([{ status: 'rejected' }])
    one(bad, INTERNAL)
    expect([givenUp, trust.isProven]).toEqual([[], false])
  })

  test.each<[string, next: Partial<Message> | undefined, isGivenUp: boolean]>([
    ['nothing else is in its lane: at the very failure that is one too many', undefined, true],
    ['the one behind it cannot be tried in its place, having failed as often', { failures: 2 }, true],
    ['not where the one behind it can be tried in its place', {}, false],
  ])('for the time that has passed, if %s', (_, next, isGivenUp) => {
    const { message, one, clock, givingUp, givenUp } = createEnds()
    const bad = message()
    if (next) message('', next)
    one(bad, INTERNAL)
    givingUp.answered()
    clock.jump(1_000)
    one(bad, INTERNAL)
    expect(givenUp).toEqual(isGivenUp ? [bad] : [])
  })
})

describe('C68: a message may have been applied', () => {
  test.each<[string, attempts: number, ConnectionError, isInDoubt: boolean]>([
    ['after a POST that was lost', 1, LOST, true],
    ['after a 500', 1, INTERNAL, true],
    ['not after a 429: the server says that it did nothing', 1, toHttpError(429), false],
    ['not after a POST that never left', 0, LOST, false],
    ['not after a headers hook that failed', 0, HOOK_FAILED, false],
  ])('%s', (_, attempts, outcome, isInDoubt) => {
    const { message, one } = createEnds()
    const posted = message('', { attempts })
    one(posted, outcome)
    expect(posted.isInDoubt).toBe(isInDoubt)
  })

  test('C28: by a batch whose answer says nothing of it, which is reported', () => {
    const { message, batch, errors } = createEnds()
    const both = [message('', { id: 'a' }), message('', { id: 'b' })]
    batch(both, {})
    expect(both.map(({ isInDoubt }) => isInDoubt)).toEqual([true, true])
    expect(errors).toEqual(['bad-response'])
  })

  test.each([
    [true, 'unknown'],
    [false, 'rejected'],
  ])('C62: so where its endpoint turns out to be missing, and it is in doubt (%s), it ends %s', (isInDoubt, status) => {
    const { message, one, opens, ended, facts } = createEnds()
    const posted = message('', { isInDoubt })
    for (const connectionId of ['c1', 'c2', 'c3']) {
      opens(gateOf({ connectionId }))
      one(posted, toHttpError(404))
    }
    expect(facts.map(({ type }) => type)).toEqual(['upstream.disowned', 'upstream.disowned'])
    expect(ended).toMatchObject([{ status, error: { code: 'unknown-endpoint' } }])
  })
})

describe('I11: a POST of an older stream', () => {
  test.each([401, 404])('that is answered %i is no error of the delivery, as it is on this stream', (status) => {
    const { message, one, facts } = createEnds()
    const posted = message()
    one(posted, toHttpError(status), OLD)
    expect([posted.lastError, facts]).toEqual([null, []])
    one(posted, toHttpError(status))
    expect(posted.lastError).toMatchObject({ status })
    expect(facts).toHaveLength(1)
  })

  test('C75: that nobody answers raises no doubt of this stream, as two of its own do', () => {
    const { message, one, facts } = createEnds()
    const posted = message()
    for (let times = 0; times < 3; times++) one(posted, LOST, OLD)
    expect(facts).toEqual([])
    for (let times = 0; times < 2; times++) one(posted, LOST)
    expect(facts).toEqual([{ type: 'upstream.doubtful', error: LOST }])
  })
})

describe('a batch', () => {
  test.each<[string, ConnectionError, isHeldUp: boolean]>([
    ['C40: that is told to wait holds up all lanes', toHttpError(503, 'busy', 60_000), true],
    ['I13: that fails holds up its own lanes only', INTERNAL, false],
  ])('%s', (_, outcome, isHeldUp) => {
    const { message, batch, lanes } = createEnds()
    batch([message('s1'), message('s2')], outcome)
    expect(lanes.retryAt(lanes.get('s1'))).not.toBeNull()
    expect(lanes.retryAt(lanes.get('s3')) !== null).toBe(isHeldUp)
  })

  test('I5: of several lanes has its results in any order, each for the message that it names', () => {
    const { message, batch } = createEnds()
    const [a, b] = ['a', 'b'].map((id) => message(id, { id })) as [Message, Message]
    const results = [
      { id: 'b', status: 403 },
      { id: 'a', status: 200, receipt: {} },
    ]
    batch([a, b], { results }, gateOf({ features: ['batch', 'lanes'] }))
    expect([a.status, b.status]).toEqual(['accepted', 'rejected'])
  })
})
