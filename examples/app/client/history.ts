import type { Loaded, SessionEnd, SessionOptions } from 'holdline/react'
import type { ChatEvent } from '../shared/protocol'
import { EMPTY, reduce, type Transcript } from '../shared/transcript'
import type { Call } from './connection'

/** For `useSession`: what was said before, and the cursor after which the line goes on. */
export const historyOf = (call: Call): SessionOptions<Transcript, ChatEvent> => ({
  initial: EMPTY,
  reduce,
  async load(sessionId): Promise<Loaded<Transcript> | SessionEnd> {
    const answer = await call(`sessions/${sessionId}/history`)
    if (answer.status === 404) return 'gone'
    if (!answer.ok) throw new Error(`GET history: the server answered ${answer.status}`)
    return answer.json()
  },
})
