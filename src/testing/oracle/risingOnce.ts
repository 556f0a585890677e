import type { Connection } from '../../connection/api'
import { before, type Watch } from './watch'

/** I6: an event reaches the app at most once and in rising order. */
export const risingOnce: Watch = ({ connection }, report) => {
  const last = new Map(connection.cursors.map(({ sessionId, lastSeq }) => [sessionId, lastSeq]))
  const lost = new Set<string>()
  connection.on('message', ({ sessionId, seq }) => {
    if (typeof sessionId !== 'string' || typeof seq !== 'number') return
    const before = last.get(sessionId) ?? 0
    if (seq <= before) report(`${sessionId} ${seq} comes after ${before}`)
    const { lastSeq = 0 } = connection.cursor(sessionId) ?? {}
    if (lastSeq >= seq) report(`the cursor of ${sessionId} is at ${lastSeq} before the app has had ${seq}`)
    last.set(sessionId, seq)
  })
  connection.on('session', ({ sessionId, status, to }) => {
    if (status === 'reset') {
      last.set(sessionId, to)
      lost.add(sessionId)
    } else if (status !== 'resumed') last.delete(sessionId)
  })
  // The app asks for what it has had.
  before(connection, ['watch'], (...[sessionId, { after } = {}]: Parameters<Connection['watch']>) => {
    if (!connection.cursor(sessionId)) last.delete(sessionId)
    else if (!lost.has(sessionId)) return
    if (after === undefined) return
    lost.delete(sessionId)
    last.set(sessionId, after === 'head' ? 0 : typeof after === 'object' ? after.lastSeq : after)
  })
  before(connection, ['unwatch'], (sessionId: string) => last.delete(sessionId))
  return { memory: () => [...last] }
}
