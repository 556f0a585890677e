import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { SESSION_ID } from '../../protocol'
import { nameOf, sessionIdOf } from '../../protocol/sessionName'

test.each(['s1', 'A-z_09', 'b64', 'ab64_c', 'x'.repeat(128)])('%j is its own session', (name) => {
  expect(sessionIdOf(name)).toBe(name)
  expect(nameOf(name)).toBe(name)
})

// [spec] RFC 4648 §5: base64url, here without padding.
test.each([
  ['org:1/chat.2', 'b64_b3JnOjEvY2hhdC4y'],
  ['ü', 'b64_w7w'],
  ['?>', 'b64_Pz4'],
  ['\u00ff\u00fe~~', 'b64_w7_Dvn5-'],
  ['', 'b64_'],
  ['b64_b3JnOjEvY2hhdC4y', 'b64_YjY0X2IzSm5PakV2WTJoaGRDNHk'],
])('%j has the session %j', (name, sessionId) => {
  expect(sessionIdOf(name)).toBe(sessionId)
  expect(nameOf(sessionId)).toBe(name)
})

test('an id of 93 bytes has a session, one of 94 has none', () => {
  expect(sessionIdOf('/'.repeat(93))).toHaveLength(128)
  expect(() => sessionIdOf('/'.repeat(94))).toThrow(
    expect.objectContaining({
      code: 'invalid-option',
      message: `the id '${'/'.repeat(94)}' is too long for a session: at most 93 bytes, or 128 letters, digits, _ and -`,
    }),
  )
})

test.each(['b64_b3JnOjEvY2hhdC4y=', 'b64_s1', 'b64_czE', 'b64_%', 'b64_/w', 'b64_w7x', 'b64__w'])(
  'a session %j that no name has is its own name',
  (sessionId) => {
    expect(nameOf(sessionId)).toBe(sessionId)
  },
)

test('every name has a session of its own', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), (name) => {
      const sessionId = sessionIdOf(name)
      expect(sessionId).toMatch(SESSION_ID)
      expect(nameOf(sessionId)).toBe(name)
    }),
  )
})
