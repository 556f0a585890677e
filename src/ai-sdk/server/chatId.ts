import { sessionIdOf } from '../wire'

/** The chat of a session: what `sessionIdOf` was given. */
export function chatIdOf(sessionId: string): string {
  if (!sessionId.startsWith('b64_')) return sessionId
  try {
    const base64 = sessionId.slice(4).replace(/-/g, '+').replace(/_/g, '/')
    const chatId = new TextDecoder().decode(Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0)))
    // A chat has one session: another spelling of its id is another chat.
    return sessionIdOf(chatId) === sessionId ? chatId : sessionId
  } catch {
    return sessionId
  }
}
