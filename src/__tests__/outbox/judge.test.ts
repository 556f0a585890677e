import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import { ConnectionError } from '../../errors'
import { type Judgement, judge } from '../../outbox/judge'
import type { Feature } from '../../protocol'

const NONE: readonly Feature[] = []
const IDEMPOTENT: readonly Feature[] = ['idempotency']
const RECEIPTS: readonly Feature[] = ['receipts']
const answered = (status: number, reason?: string) => toHttpError(status, reason)

/** In short: what becomes of the message, and what else is known. */
function say(judgement: Judgement): string {
  if (judgement.ruling === 'settle') return judgement.ending.status
  if (judgement.ruling === 'line') return judgement.fact
  const { counts, leavesDoubt, isOminous } = judgement
  return ['repeat', counts && 'counts', leavesDoubt && 'doubt', isOminous && 'ominous'].filter(Boolean).join(' ')
}

describe('what the end of a POST means for a message', () => {
  test.each<[string, outcome: unknown, features: readonly Feature[], first: string, inDoubt: string]>([
    ['2xx with JSON', { a: 1 }, NONE, 'accepted', 'accepted'],
    ['2xx, empty', null, NONE, 'accepted', 'accepted'],
    ['2xx that is no JSON', undefined, NONE, 'accepted', 'accepted'],
    ['2xx that is no JSON, receipts promised', undefined, RECEIPTS, 'repeat counts doubt', 'repeat counts doubt'],
    ['400', answered(400), NONE, 'rejected', 'unknown'],
    ['400, idempotent', answered(400), IDEMPOTENT, 'rejected', 'rejected'],
    ['401', answered(401), NONE, 'upstream.unauthorized', 'upstream.unauthorized'],
    ['302: a login page, or nowhere', answered(302), NONE, 'repeat counts doubt', 'repeat counts doubt'],
    ['403', answered(403), NONE, 'rejected', 'unknown'],
    ['404', answered(404), NONE, 'upstream.disowned', 'upstream.disowned'],
    ['408', answered(408), NONE, 'repeat counts', 'repeat counts'],
    ['409', answered(409, 'id-reused'), IDEMPOTENT, 'rejected', 'rejected'],
    [
      '410: of a message, not of the stream; a browser may have repeated it by itself',
      answered(410),
      NONE,
      'unknown',
      'unknown',
    ],
    ['413', answered(413), NONE, 'rejected', 'unknown'],
    ['409, not of this key', answered(409), NONE, 'unknown', 'unknown'],
    ['409: cancelled before it began', answered(409, 'cancelled'), NONE, 'rejected', 'rejected'],
    ['422, idempotent', answered(422), IDEMPOTENT, 'rejected', 'rejected'],
    ['425: another one has to go first', answered(425), NONE, 'repeat', 'repeat'],
    ['429', answered(429), NONE, 'repeat counts', 'repeat counts'],
    ['500 in JSON: a server of ours', answered(500, 'internal'), NONE, 'repeat counts doubt', 'repeat counts doubt'],
    [
      '502: a proxy before a dead one',
      answered(502),
      NONE,
      'repeat counts doubt ominous',
      'repeat counts doubt ominous',
    ],
    ['503 in JSON', answered(503, 'unavailable'), IDEMPOTENT, 'repeat counts doubt', 'repeat counts doubt'],
    [
      'network',
      new ConnectionError('network', 'why'),
      NONE,
      'repeat counts doubt ominous',
      'repeat counts doubt ominous',
    ],
    [
      'timeout',
      new ConnectionError('timeout', 'why'),
      NONE,
      'repeat counts doubt ominous',
      'repeat counts doubt ominous',
    ],
    ['HTML', new ConnectionError('bad-response', 'why'), NONE, 'repeat counts doubt', 'repeat counts doubt'],
    [
      'a hook that failed',
      new ConnectionError('hook-failed', 'why'),
      NONE,
      'repeat counts doubt',
      'repeat counts doubt',
    ],
  ])('%s', (_, outcome, features, first, inDoubt) => {
    const said = [false, true].map((isInDoubt) => say(judge({ outcome, features, isInDoubt })))
    expect(said).toEqual([first, inDoubt])
  })
})
