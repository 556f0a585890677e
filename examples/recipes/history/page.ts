import type { InboundOf } from 'holdline/protocol'
import type { Loaded, SessionOptions } from 'holdline/sessions'
import { type Bubbles, type chat, initial, reduce } from './transcript'

/** For `useSession(id, history)`, of React and Vue, and `sessionStore(connection, id, history)`. */
export const history: SessionOptions<Bubbles, InboundOf<typeof chat>> = {
  initial,
  reduce,
  async load(sessionId): Promise<Loaded<Bubbles>> {
    const answer = await fetch(`/history/${sessionId}`)
    if (!answer.ok) throw new Error(`GET history: ${answer.status}`)
    return answer.json()
  },
}
