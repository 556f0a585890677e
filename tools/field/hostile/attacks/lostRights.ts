import { setTimeout as sleep } from 'node:timers/promises'
import { now } from '../../../load/measure'
import { ROOM } from '../names'
import type { Attack, Target } from '../types'
import { aborted, control, dial, found } from '../wire'

/** How soon a right that was taken away must be gone, ms. */
const SOON = 500

/** Readers that the app has turned out of a room, and that read on. */
export const lostRights: Attack = {
  row: 'C104',
  name: 'readers whose right was taken away',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  seconds: 5,
  async run(target, signal) {
    const app = control(target)
    const refused = await reader(target, 'mallory-refused')
    const revoked = await reader(target, 'mallory-revoked')
    const forgotten = await reader(target, 'mallory-forgotten')
    await sleep(500)
    const before = refused.count() + revoked.count() + forgotten.count()
    for (const name of ['mallory-refused', 'mallory-forgotten']) await app.deny(name, ROOM)
    const answer = await refused.line.post('send', JSON.stringify({ type: 'send', sessionId: ROOM }))
    const canRevoke = await app.revoke('mallory-revoked', ROOM)
    const deadline = now() + SOON
    const askedAgain = now() + 1_000 + 2 * SOON
    await aborted(signal)
    const reauthorizes = await app.reauthorizes()
    const afterRefusal = refused.countSince(deadline)
    const afterRevoke = revoked.countSince(deadline)
    const afterAll = forgotten.countSince(askedAgain)
    return found(
      { before, afterRefusal, afterRevoke, afterAll },
      before < 10 && `only ${before} events came before: the attack has shown nothing`,
      answer.status !== 403 && `a command without the right was answered ${answer.status}, not 403`,
      afterRefusal > 0 && `${afterRefusal} events after authorize had refused a command of that session, expected 0`,
      !canRevoke && 'server.revoke is not there',
      canRevoke && afterRevoke > 0 && `${afterRevoke} events after revoke, expected 0`,
      !reauthorizes && 'limits.reauthorize is not there',
      afterAll > 0 && `${afterAll} events after the right had been away for 2 s, expected 0`,
    )
  },
}

async function reader(target: Target, name: string) {
  const line = await dial(target, name)
  if (!line) throw new Error(`${name} could not connect`)
  const times: number[] = []
  line.onFrame = ({ sessionId, at }) => {
    // By when it was published: one that was under way is not held against the server.
    if (sessionId === ROOM && typeof at === 'number') times.push(at)
  }
  await line.post('watch', JSON.stringify({ type: 'watch', sessionId: ROOM, lastSeq: 0 }))
  return { line, count: () => times.length, countSince: (at: number) => times.filter((time) => time > at).length }
}
