import type { Loaded } from 'holdline/sessions'
import type { Bubble } from './transcript'

/** For `useSession(id, history)`, of React and Vue, and `sessionStore(connection, id, history)`. */
export const history = {
  initial: [] as readonly Bubble[],
  reduce: (bubbles: readonly Bubble[], { from, text }: Bubble) => [...bubbles, { from, text }],
  async load(sessionId: string): Promise<Loaded<readonly Bubble[]>> {
    const answer = await fetch(`/history/${sessionId}`)
    if (!answer.ok) throw new Error(`GET history: ${answer.status}`)
    return answer.json()
  },
}
