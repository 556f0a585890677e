import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import { ConnectionError } from '../../errors'
import { type Case, FACTS, judge, mayBeApplied } from '../../outbox/judge'
import { FEATURES, type Feature } from '../../protocol'
import { meaningOf } from '../../protocol/status'

const http = toHttpError
const line = (code: ConnectionError['code']) => new ConnectionError(code, 'why')

const OUTCOMES: Readonly<Record<string, unknown>> = {
  JSON: { a: 1 },
  'JSON: false': false,
  empty: null,
  'no JSON': undefined,
  '302': http(302),
  '400': http(400),
  '401': http(401),
  '403': http(403),
  '404': http(404),
  '404 unknown-stream': http(404, 'unknown-stream'),
  '408': http(408),
  '409': http(409),
  '409 busy': http(409, 'busy'),
  '409 id-reused': http(409, 'id-reused'),
  '409 cancelled': http(409, 'cancelled'),
  '410': http(410),
  '413': http(413),
  '422': http(422),
  '423': http(423),
  '425': http(425),
  '429': http(429),
  '500': http(500),
  '500 internal': http(500, 'internal'),
  '500 final': new ConnectionError('http', 'why', { status: 500, retryable: false }),
  '502': http(502),
  '503': http(503),
  '503 unavailable': http(503, 'unavailable'),
  network: line('network'),
  timeout: line('timeout'),
  HTML: line('bad-response'),
  redirected: line('redirected'),
  'hook failed': line('hook-failed'),
  unsendable: line('invalid-option'),
  cancelled: line('cancelled'),
}

/** What the rulings depend on. `first`: no earlier POST is in doubt; `again`: one is. */
const COLUMNS: readonly Pick<Case, 'features' | 'isInDoubt'>[] = (
  [[], ['receipts'], ['idempotency'], ['receipts', 'idempotency']] as const
).flatMap((features) => [false, true].map((isInDoubt) => ({ features, isInDoubt })))

const TABLE = `
  features           | none                    | receipts                | idempotency             | both
                     | first      | again      | first      | again      | first      | again      | first      | again
  JSON               | accepted   | accepted   | accepted   | accepted   | accepted   | accepted   | accepted   | accepted
  JSON: false        | accepted   | accepted   | accepted   | accepted   | accepted   | accepted   | accepted   | accepted
  empty              | accepted   | accepted   | accepted   | accepted   | accepted   | accepted   | accepted   | accepted
  no JSON            | accepted   | accepted   | unclear    | unclear    | accepted   | accepted   | unclear    | unclear
  302                | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear
  400                | rejected   | unknown    | rejected   | unknown    | rejected   | rejected   | rejected   | rejected
  401                | credential | credential | credential | credential | credential | credential | credential | credential
  403                | rejected   | unknown    | rejected   | unknown    | rejected   | rejected   | rejected   | rejected
  404                | stream     | stream     | stream     | stream     | stream     | stream     | stream     | stream
  404 unknown-stream | stream     | stream     | stream     | stream     | stream     | stream     | stream     | stream
  408                | unapplied  | unapplied  | unapplied  | unapplied  | unapplied  | unapplied  | unapplied  | unapplied
  409                | unknown    | unknown    | unknown    | unknown    | rejected   | rejected   | rejected   | rejected
  409 busy           | unknown    | unknown    | unknown    | unknown    | rejected   | rejected   | rejected   | rejected
  409 id-reused      | rejected   | unknown    | rejected   | unknown    | rejected   | rejected   | rejected   | rejected
  409 cancelled      | rejected   | rejected   | rejected   | rejected   | rejected   | rejected   | rejected   | rejected
  410                | unknown    | unknown    | unknown    | unknown    | rejected   | rejected   | rejected   | rejected
  413                | rejected   | unknown    | rejected   | unknown    | rejected   | rejected   | rejected   | rejected
  422                | rejected   | unknown    | rejected   | unknown    | rejected   | rejected   | rejected   | rejected
  423                | unknown    | unknown    | unknown    | unknown    | rejected   | rejected   | rejected   | rejected
  425                | early      | early      | early      | early      | early      | early      | early      | early
  429                | unapplied  | unapplied  | unapplied  | unapplied  | unapplied  | unapplied  | unapplied  | unapplied
  500                | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered
  500 internal       | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear
  500 final          | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered
  502                | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered
  503                | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered
  503 unavailable    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear
  network            | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered
  timeout            | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered | unanswered
  HTML               | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear
  redirected         | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear
  hook failed        | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear    | unclear
  unsendable         | rejected   | unknown    | rejected   | unknown    | rejected   | rejected   | rejected   | rejected
  cancelled          | rejected   | rejected   | rejected   | rejected   | rejected   | rejected   | rejected   | rejected
`
const ROWS = TABLE.trim()
  .split('\n')
  .slice(2)
  .map((row) => row.split('|').map((cell) => cell.trim()))

function say(given: Case): string {
  const judgement = judge(given)
  if (judgement.ruling === 'settle') return judgement.ending.status
  if (judgement.ruling === 'repeat') return judgement.kind
  return judgement.fact === 'upstream.disowned' ? 'stream' : 'credential'
}

/** Every set of features that no ruling depends on, alone and all together. */
const OTHERS = FEATURES.filter((feature) => feature !== 'receipts' && feature !== 'idempotency')
const BESIDE: readonly (readonly Feature[])[] = [[], ...OTHERS.map((feature) => [feature]), OTHERS]

describe('what the end of a POST means for a message', () => {
  test.each(ROWS)('%s', (name, ...cells) => {
    for (const beside of BESIDE) {
      const said = COLUMNS.map(({ features, isInDoubt }) =>
        say({ outcome: OUTCOMES[name as string], features: [...beside, ...features], isInDoubt }),
      )
      expect(said).toEqual(cells)
    }
  })

  test('the table has every outcome with all features and doubts, and every meaning that a status can have', () => {
    expect(ROWS.map(([name]) => name)).toEqual(expect.arrayContaining(Object.keys(OUTCOMES)))
    expect(ROWS).toHaveLength(Object.keys(OUTCOMES).length)
    expect(new Set(ROWS.map(({ length }) => length))).toEqual(new Set([1 + COLUMNS.length]))
    const seen = (values: readonly unknown[]) =>
      new Set(
        values
          .flatMap((value) => (value instanceof ConnectionError && value.status ? [value.status] : []))
          .map(meaningOf),
      )
    const possible = new Set(Array.from({ length: 400 }, (_, index) => meaningOf(200 + index)))
    possible.delete('accepted')
    expect(seen(Object.values(OUTCOMES))).toEqual(possible)
  })

  test('a verdict brings the receipt, or the very error; so does what is to be repeated, or speaks of the line', () => {
    const judged = (outcome: unknown, features: readonly Feature[] = []) =>
      judge({ outcome, features, isInDoubt: false })
    const receipt = { a: 1 }
    expect(judged(receipt)).toEqual({ ruling: 'settle', ending: { status: 'accepted', receipt } })
    expect(judged(undefined)).toEqual({ ruling: 'settle', ending: { status: 'accepted', receipt: null } })
    expect(judged(false)).toEqual({ ruling: 'settle', ending: { status: 'accepted', receipt: false } })
    const broken = judged(undefined, ['receipts'])
    expect(broken).toMatchObject({ ruling: 'repeat', error: { code: 'bad-response', retryable: true } })
    expect(broken.ruling === 'repeat' && broken.error.message).toContain('receipts')
    for (const outcome of Object.values(OUTCOMES)) {
      if (!(outcome instanceof ConnectionError)) continue
      const judgement = judged(outcome)
      expect(judgement.ruling === 'settle' ? Object(judgement.ending).error : judgement.error).toBe(outcome)
    }
    expect(judged(http(401))).toMatchObject({ ruling: 'line', fact: FACTS.credentials })
    expect(judged(http(404))).toMatchObject({ ruling: 'line', fact: FACTS.stream })
    expect(FACTS).toEqual({ credentials: 'upstream.unauthorized', stream: 'upstream.disowned' })
  })

  test('only an unclear failure and an unanswered one leave doubt whether the message was applied', () => {
    const kinds = ['early', 'unapplied', 'unclear', 'unanswered'] as const
    expect(kinds.map(mayBeApplied)).toEqual([false, false, true, true])
  })
})
