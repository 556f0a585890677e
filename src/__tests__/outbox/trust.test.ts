import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import { ConnectionError } from '../../errors'
import type { UpstreamEvent } from '../../machine/types'
import { MissingEndpoints } from '../../outbox/missingEndpoints'
import { StreamTrust } from '../../outbox/streamTrust'
import { gateOf } from '../support/outboxParts'

const LOST = new ConnectionError('network', 'lost')
const UNANSWERED = true
const ANSWERED = false
const C1 = gateOf()
const C2 = gateOf({ connectionId: 'c2' })

function createTrust() {
  const facts: UpstreamEvent[] = []
  return { facts, trust: new StreamTrust((fact) => facts.push(fact)) }
}

describe('a stream', () => {
  test('I11: is proven by a 2xx on itself: one on the stream before proves nothing', () => {
    const { trust } = createTrust()
    expect([trust.begin(C1), trust.isProven]).toEqual([true, false])
    trust.taken('send', C1)
    expect(trust.isProven).toBe(true)
    expect([trust.begin(C2), trust.isProven]).toEqual([true, false])
    trust.taken('send', C1)
    expect(trust.isProven).toBe(false)
    trust.taken('send', C2)
    expect(trust.isProven).toBe(true)
  })

  test.each([
    ['after a resume', gateOf({ isResumed: true }), true],
    ['a second time', C1, false],
  ])('on which the gate opens %s is proven: it has answered', (_, gate, isFresh) => {
    const { trust } = createTrust()
    if (!isFresh) trust.begin(C1)
    expect([trust.begin(gate), trust.isProven]).toEqual([isFresh, true])
  })

  test('that was doubted tells once that it is proven; no other does', () => {
    const { trust, facts } = createTrust()
    trust.begin(C1)
    trust.taken('send', C1)
    expect(facts).toEqual([])
    const doubted = gateOf({ connectionId: 'c2', trust: 'lost' })
    trust.begin(doubted)
    for (const endpoint of ['send', 'mode']) trust.taken(endpoint, doubted)
    expect(facts).toEqual([{ type: 'upstream.proved' }])
  })
})

describe('C75: a doubt', () => {
  const DOUBT = [{ type: 'upstream.doubtful', error: LOST }]

  test.each<[string, (trust: StreamTrust) => unknown]>([
    ['a verdict', (trust) => trust.heard()],
    ['a failure that a server of ours explains', (trust) => trust.failed(LOST, ANSWERED)],
    ['a fresh stream', (trust) => trust.begin(C2)],
  ])('takes two failures in a row that nobody answers: not with %s between', (_, comes) => {
    const { trust, facts } = createTrust()
    trust.begin(C1)
    trust.failed(LOST, UNANSWERED)
    comes(trust)
    trust.failed(LOST, UNANSWERED)
    expect(facts).toEqual([])
    trust.failed(LOST, UNANSWERED)
    expect(facts).toEqual(DOUBT)
  })

  test('is no further away because the gate has closed and opened on the same stream', () => {
    const { trust, facts } = createTrust()
    trust.begin(C1)
    trust.failed(LOST, UNANSWERED)
    trust.begin(C1)
    trust.failed(LOST, UNANSWERED)
    expect(facts).toEqual(DOUBT)
  })
})

describe('C62: a POST to an endpoint that answered 404 last', () => {
  const PROBES = gateOf({ connectionId: 'c2', features: ['probe'] })
  function suspecting() {
    const { trust, facts } = createTrust()
    trust.begin(C1)
    expect(trust.missing('send', toHttpError(404))).toBeUndefined()
    return { trust, facts }
  }

  test('waits for a probe on a stream that has answered nothing yet; the reason names the endpoint', () => {
    const { trust, facts } = suspecting()
    trust.begin(PROBES)
    expect(trust.asksForProbe('send')).toBe(true)
    const error = { code: 'unknown-stream', message: expect.stringContaining('404 from send') }
    expect(facts).toMatchObject([{ type: 'upstream.doubtful', error }])
  })

  test('leaves where the stream is proven, or the server knows no probes; any other leaves in any case', () => {
    const { trust, facts } = suspecting()
    trust.begin(PROBES)
    expect(trust.asksForProbe('mode')).toBe(false)
    trust.taken('mode', PROBES)
    expect(trust.asksForProbe('send')).toBe(false)
    trust.begin(gateOf({ connectionId: 'c3' }))
    expect(trust.asksForProbe('send')).toBe(false)
    expect(facts).toEqual([])
  })
})

describe('C62: an endpoint counts as missing', () => {
  test('after a 404 on three streams that had each answered another POST; the error names it', () => {
    const endpoints = new MissingEndpoints()
    for (const proven of [null, 'c1', 'c1', null, 'c2', null])
      expect(endpoints.missing('send', toHttpError(404), proven)).toBeUndefined()
    const error = endpoints.missing('send', toHttpError(404), 'c3')
    expect(error).toMatchObject({ code: 'unknown-endpoint', status: 404, message: expect.stringContaining(' send,') })
  })

  test.each([
    ['a 401', toHttpError(401)],
    ['a 404 that names the stream', toHttpError(404, 'unknown-stream')],
  ])('after no number of %s', (_, error) => {
    const endpoints = new MissingEndpoints()
    for (const proven of ['c1', 'c2', 'c3', 'c4']) expect(endpoints.missing('send', error, proven)).toBeUndefined()
    expect(endpoints.isSuspect('send')).toBe(false)
  })
})
