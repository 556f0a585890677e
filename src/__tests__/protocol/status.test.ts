import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import { toRefusal } from '../../adapters/streamRefusal'
import { asksToWait, isToBeRepeated, isUnapplied, mayPass, meaningOf, type StatusMeaning } from '../../protocol/status'

/** Which statuses from 200 to 599 do. */
const those = (does: (status: number) => boolean) => Array.from({ length: 400 }, (_, index) => 200 + index).filter(does)
const meaning = (wanted: StatusMeaning) => those((status) => meaningOf(status) === wanted)
const REDIRECTS = [301, 302, 303, 307, 308]

describe('the one table of HTTP statuses', () => {
  test.each<[StatusMeaning, number[]]>([
    ['credentials', [401]],
    ['stream', [404]],
    ['gone', [410]],
    ['early', [425]],
    ['quota', [429]],
    ['busy', [503]],
    ['conflict', [409, 423]],
  ])('`%s` is the meaning of %j', (wanted, statuses) => {
    expect(meaning(wanted)).toEqual(statuses)
  })

  test('whatever has no row of its own means what its hundred means', () => {
    expect(meaning('accepted')).toEqual(those((status) => status < 300))
    const later = meaning('later')
    expect(later.filter((status) => status < 500)).toEqual([...those((status) => status >= 300 && status < 400), 408])
    expect(later.filter((status) => status >= 500)).toEqual(those((status) => status >= 500 && status !== 503))
    expect(meaning('refused')).toEqual(those((status) => isUnapplied(status) && !SPECIAL.includes(status)))
    expect(meaningOf(0)).toBe('later')
    expect(meaningOf(undefined)).toBe('later')
  })

  test('a message is repeated after what speaks of the line, of its turn, or of a moment', () => {
    expect(those(isToBeRepeated).filter(isUnapplied)).toEqual([401, 404, 408, 425, 429])
    expect(those(isToBeRepeated).filter((status) => !isUnapplied(status))).toEqual(
      those((status) => status >= 300 && !isUnapplied(status)),
    )
  })

  test('a resume is tried again after what a fresh stream, or time, can heal', () => {
    expect(those(mayPass).filter(isUnapplied)).toEqual([404, 408, 410, 425, 429])
    expect(those((status) => toHttpError(status).retryable)).toEqual(those(mayPass))
  })

  test('429 and 503 say when to come back', () => {
    expect(those(asksToWait)).toEqual([429, 503])
  })

  test('the code of an error is that of its status', () => {
    const coded = (code: string) => those((status) => status >= 300 && toHttpError(status).code === code)
    expect(coded('unauthorized')).toEqual([401])
    expect(coded('forbidden')).toEqual([403])
    expect(coded('unknown-stream')).toEqual([404, 410])
    expect(coded('redirected')).toEqual(REDIRECTS)
    expect(coded('http')).toHaveLength(300 - 4 - REDIRECTS.length)
    expect(toHttpError(409, 'id-reused').code).toBe('id-reused')
  })

  test('C72: a stream is refused with 204, 401 and 403; any other status is a failure of this one', () => {
    const refusals = those((status) => toRefusal(status).code !== 'stream-failed')
    expect(refusals.map((status) => [status, toRefusal(status).code, toRefusal(status).retryable])).toEqual([
      [204, 'ended', false],
      [401, 'unauthorized', false],
      [403, 'forbidden', true],
    ])
    expect(toRefusal(403, { error: 'banned' }).retryable).toBe(false)
    expect(those((status) => toRefusal(status).code === 'stream-failed' && !toRefusal(status).retryable)).toEqual([])
  })
})

const SPECIAL = [401, 404, 408, 409, 410, 423, 425, 429]
