import { Redis } from 'ioredis'
import { OWN_SESSION, ROOM } from '../names'
import type { Attack, Target } from '../types'
import { aborted, control, dial, found } from '../wire'

// Of somebody who may do nothing on this Redis but PUBLISH, and who has an account of the chat: he
// reads a room that he may read, and so knows its epoch, its numbers and the name of his node.

const PREFIX = 'holdline'

async function intruder(target: Target) {
  const line = await dial(target)
  if (!line) throw new Error('could not connect')
  const redis = new Redis(String(target.redis), { enableReadyCheck: false })
  redis.on('error', () => {})
  return { line, redis }
}

/** The honest client counts what is not the server's, and what it lost for it. */
export const forgedEvents: Attack = {
  row: 'C106',
  name: 'events forged with PUBLISH',
  over: ['http', 'websocket'],
  logs: ['redis'],
  seconds: 3,
  async run(target, signal) {
    const { line, redis } = await intruder(target)
    let forged = 0
    line.onFrame = ({ sessionId, seq, epoch, forged: isForged }) => {
      if (sessionId !== ROOM || isForged) return
      const event = JSON.stringify({ type: 'tick', n: 1, at: 0, forged: true })
      forged += 1
      void redis.publish(`${PREFIX}:session:${ROOM}`, `${epoch} ${Number(seq) + 1} ${event}`).catch(() => {})
    }
    await line.post('watch', JSON.stringify({ type: 'watch', sessionId: ROOM, lastSeq: 0 }))
    await aborted(signal)
    redis.disconnect()
    return found({ forged }, forged === 0 && 'nothing was forged: the attack has shown nothing')
  },
}

/**
 * Nodes ask each other to attach a session to a stream, and the one that is asked does not ask
 * `authorize`. The epoch of the session is known to everybody who could read it once.
 */
export const forgedQuestions: Attack = {
  row: 'C106',
  name: "another node's question forged with PUBLISH",
  over: ['http', 'websocket'],
  logs: ['redis'],
  seconds: 2,
  async run(target, signal) {
    const { line, redis } = await intruder(target)
    const { connectionId } = line
    const channel = `${PREFIX}:node:${connectionId.split('.')[0]}`
    let stolen = 0
    line.onFrame = ({ sessionId }) => {
      if (sessionId === OWN_SESSION) stolen += 1
    }
    const epoch = await control(target).epoch(OWN_SESSION)
    const calls = [
      { type: 'join', sessionId: OWN_SESSION, after: 0, epoch },
      { type: 'resume', sessions: [{ sessionId: OWN_SESSION, status: 'resumed', from: 0, to: 0, epoch }] },
    ]
    let asked = 0
    for (const call of calls) {
      const request = { principalId: 'mallory', connectionId, call }
      asked += await redis.publish(channel, JSON.stringify({ id: `x.${asked}`, from: 'x', request })).catch(() => 0)
    }
    await aborted(signal)
    redis.disconnect()
    return found(
      { heardBy: asked, stolen },
      stolen > 0 && `${stolen} events of a session that the intruder may not read came to him, expected 0`,
    )
  },
}
