import { ConnectionError } from '../errors'
import { SESSION_ID } from './index'

const ENCODED = 'b64_'

/**
 * The session of a thread or a chat that others have named. An id that can be a session's
 * (`^[A-Za-z0-9_-]{1,128}$`) is one, unless it begins with `b64_`; any other is its UTF-8 in
 * base64url, after `b64_`.
 *
 * @throws {ConnectionError} `invalid-option`, for an id of more than 93 bytes that cannot be a
 * session's
 */
export function sessionIdOf(name: string): string {
  if (SESSION_ID.test(name) && !name.startsWith(ENCODED)) return name
  const base64 = btoa(String.fromCharCode(...new TextEncoder().encode(name)))
  const sessionId = ENCODED + base64.replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '')
  if (SESSION_ID.test(sessionId)) return sessionId
  throw new ConnectionError(
    'invalid-option',
    `the id '${name}' is too long for a session: at most 93 bytes, or 128 letters, digits, _ and -`,
  )
}

/** What `sessionIdOf` was given for it. */
export function nameOf(sessionId: string): string {
  if (!sessionId.startsWith(ENCODED)) return sessionId
  try {
    const base64 = sessionId.slice(ENCODED.length).replace(/-/g, '+').replace(/_/g, '/')
    const name = new TextDecoder().decode(Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0)))
    // A name has one session: another spelling of it is another name.
    return sessionIdOf(name) === sessionId ? name : sessionId
  } catch {
    return sessionId
  }
}
