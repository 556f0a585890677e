import { Holds } from './holds'
import type { Watch } from './watch'
import { CONTROL, parse } from './wire'

/** I10: messages flow in reconnecting as in open. */
export const flow: Watch = ({ connection, messages }, report) => {
  /** Sessions that the app, or the server, has ended: as long as the stream lives. */
  const left = new Set<unknown>()
  const seen = new Map<unknown, unknown>()
  const holds = new Holds(connection, {
    watched(sessionId, after) {
      left.delete(sessionId)
      if (after !== undefined) seen.delete(sessionId)
    },
    left: (sessionId) => left.add(sessionId),
  })
  connection.on('session', ({ sessionId, status }) => {
    if (status === 'gone' || status === 'forbidden') left.add(sessionId)
    if (status === 'reset') seen.delete(sessionId)
  })
  connection.on('message', ({ sessionId, seq }) => {
    seen.set(sessionId, seq)
    if (seq !== undefined && left.has(sessionId)) report(`a message of ${sessionId}, which the app has left`)
  })

  /**
   * Must the app hear of it at once? Not if it waits behind a message at which a listener has
   * thrown.
   */
  const isDue = ({ type, sessionId, seq, epoch }: Partial<Record<string, unknown>>) => {
    if (seq === undefined || sessionId === undefined) return !CONTROL.includes(type)
    const cursor = connection.cursor(String(sessionId))
    if (!cursor) return !left.has(sessionId)
    const isSameLife = epoch === undefined || cursor.epoch === undefined || epoch === cursor.epoch
    return isSameLife && seq === cursor.lastSeq + 1 && seq !== seen.get(sessionId)
  }
  return {
    memory: () => [...left, ...holds.counts()],
    onSettled() {
      for (const [sessionId] of holds.counts())
        if (!connection.cursor(sessionId)) report(`${sessionId} is watched, and not tracked`)
    },
    // A new stream that brings a session unasked brings news.
    onStream: () => left.clear(),
    onFrame(stream, type, data) {
      if (type !== 'message' || stream.isClosed) return
      const message = parse(data)
      if (typeof message !== 'object' || message === null || !isDue(message)) return
      const { phase } = connection
      const count = messages.length
      return () => {
        if (!messages.slice(count).some((heard) => JSON.stringify(heard) === JSON.stringify(message))) {
          report(`a message that was due did not reach the app in ${phase}`)
        }
      }
    },
  }
}
