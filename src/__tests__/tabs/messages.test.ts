import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConnectionError } from '../../errors'
import { type ErrorFields, fieldsOf, type Of, parseMessage, toError } from '../../tabs/messages'

const TAB = '0123456789abcdef'
const ERROR = { code: 'stream-failed', message: 'cut', retryable: true }
const MESSAGES = {
  hello: { standing: 'visible' },
  line: { term: 1, standing: 'hidden', n: 0, welcome: '{}', error: null, tabs: [TAB] },
  frame: { term: 1, n: 1, data: '{}', to: null },
  want: { standing: 'worker' },
  cede: { to: TAB },
  doubt: { line: 'c1' },
  ask: { id: 1, endpoint: 'reconnect', body: '{}' },
  answer: { to: TAB, id: 1, json: null, error: ERROR },
  attend: { sessions: ['s1'] },
  bye: {},
  end: {},
} as const

describe('what another tab says', () => {
  test.each(Object.entries(MESSAGES))('%s is taken as it is', (type, fields) => {
    expect(parseMessage({ type, tab: TAB, ...fields })).toEqual({ type, tab: TAB, ...fields })
  })

  const fields = Object.entries(MESSAGES).flatMap(([type, all]) =>
    Object.keys(all).map((field) => [type, field] as const),
  )
  test.each(fields)('%s without a right %s is dropped', (type, field) => {
    for (const wrong of [undefined, {}, [{}], -1, 1.5, true, Symbol.iterator.toString, '\u0000'.repeat(5_000)]) {
      const message = { type, tab: TAB, ...MESSAGES[type as keyof typeof MESSAGES], [field]: wrong }
      const isText = typeof wrong === 'string' && ['data', 'body', 'welcome'].includes(field)
      const isJson = field === 'json' && JSON.stringify(wrong) === '{}'
      if (!isText && !isJson) expect([wrong, parseMessage(message)]).toEqual([wrong, undefined])
    }
  })

  test.each([undefined, '', 7, {}, 'x'.repeat(1_025)])('a message of nobody is dropped (tab: %s)', (tab) => {
    expect(parseMessage({ type: 'bye', tab })).toBeUndefined()
  })

  test('nothing but the fields of its type gets through, whatever is said', () => {
    fc.assert(
      fc.property(
        fc.anything(),
        fc.constantFrom(...Object.keys(MESSAGES), 'xstate.stop', '__proto__'),
        (value, type) => {
          const said = { ...Object(value), type, tab: TAB, extra: 1 }
          const message = parseMessage(said)
          if (!message) return
          const own = MESSAGES[type as keyof typeof MESSAGES]
          expect(Object.keys(message).sort()).toEqual(['tab', 'type', ...Object.keys(own)].sort())
        },
      ),
    )
  })

  test('an error keeps its code, its wait and the reason of the server', () => {
    const told = fieldsOf(new ConnectionError('goodbye', 'later', { status: 503, retryAfter: 100.5, reason: 'full' }))
    const line = parseMessage({ type: 'line', tab: TAB, ...MESSAGES.line, error: structuredClone(told) })
    const { code, message, status, retryAfter, reason, retryable } = toError((line as Of<'line'>).error as ErrorFields)
    expect({ code, message, status, retryAfter, reason, retryable }).toEqual({
      code: 'goodbye',
      message: 'later',
      status: 503,
      retryAfter: 100.5,
      reason: 'full',
      retryable: true,
    })
  })
})
