import type { Loaded, SessionOptions } from 'holdline/react'
import type { ChatEvent } from '../shared/protocol'
import { EMPTY, reduce, type Transcript } from '../shared/transcript'
import type { Call } from './connection'

/** For `useSession`: what was said before, and the cursor after which the line goes on. */
export const historyOf = (call: Call): SessionOptions<Transcript, ChatEvent> => ({
  initial: EMPTY,
  reduce,
  async load(sessionId): Promise<Loaded<Transcript>> {
    const answer = await call(`sessions/${sessionId}/history`)
    // There is no such session. The line says so too, and then `status` is `gone`.
    if (answer.status === 404) return { state: EMPTY, cursor: 0 }
    if (!answer.ok) throw new Error(`GET history: the server answered ${answer.status}`)
    return answer.json()
  },
})
