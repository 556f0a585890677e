import { readFileSync } from 'node:fs'
import type { SendErrorCode, StopErrorCode } from 'holdline'
import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import { toRefusal } from '../../adapters/streamRefusal'
import { judge } from '../../outbox/judge'
import { REFUSALS } from '../../protocol/status'

const source = readFileSync(new URL('../../errors.ts', import.meta.url), 'utf8')
const codesOf = (type: string) =>
  [...(source.match(new RegExp(`type ${type} =([^]*?)\n\n`))?.[1] ?? '').matchAll(/'([a-z-]+)'/g)].map(
    ([, code]) => code,
  )

const STATUSES = Array.from({ length: 300 }, (_, index) => 300 + index)

describe('the lists that a `switch` may take for complete are', () => {
  test.each([undefined, 'id-reused', 'cancelled', 'unknown-stream', 'nonsense'])(
    'what a POST of a message is answered with ends it with a code of SendErrorCode (the server says %s)',
    (reason) => {
      const codes = new Set<SendErrorCode>()
      for (const status of STATUSES) {
        const judgement = judge({ outcome: toHttpError(status, reason), features: [], isInDoubt: false })
        if (judgement.ruling !== 'settle' || judgement.ending.status === 'accepted') continue
        codes.add(judgement.ending.error.code)
      }
      expect(codesOf('SendErrorCode')).toEqual(expect.arrayContaining([...codes]))
      expect(codes.size).toBeGreaterThanOrEqual(reason === 'id-reused' || reason === 'cancelled' ? 1 : 3)
    },
  )

  test('what a resume or a stream is answered with stops the line with a code of StopErrorCode', () => {
    const codes = new Set<string>(REFUSALS)
    for (const status of STATUSES) {
      const resume = toHttpError(status)
      if (!resume.retryable) codes.add(resume.code)
      const stream = toRefusal(status, {})
      if (REFUSALS.includes(stream.code)) codes.add(stream.code)
    }
    const own: readonly StopErrorCode[] = ['gave-up', 'internal']
    expect(codesOf('StopErrorCode')).toEqual([...codes, ...own].sort())
  })
})
