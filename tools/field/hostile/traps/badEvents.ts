import { startHostileServer } from '../hostileServer'
import { type Trap, until } from '../trap'
import { found, nested } from '../wire'

/**
 * JSON, objects even, and none of them an event. Each is to be reported, and none to be delivered.
 */
export const BAD_EVENTS: readonly string[] = [
  'null',
  '42',
  '[]',
  '"text"',
  '{',
  '',
  '\u0000',
  nested(100_000),
  '{"sessionId":{"toString":1},"seq":1}',
  '{"sessionId":{"toString":null,"valueOf":null},"seq":1}',
  '{"sessionId":{"__proto__":null},"seq":1}',
  `{"sessionId":${nested(50_000)},"seq":1}`,
  '{"sessionId":["s1"],"seq":1}',
  '{"sessionId":"","seq":1}',
  '{"sessionId":null,"seq":1}',
  '{"sessionId":"s1","seq":{"toString":1}}',
  '{"sessionId":"s1","seq":"1"}',
  '{"sessionId":"s1","seq":-1}',
  '{"sessionId":"s1","seq":1e400}',
  '{"sessionId":"s1","seq":1.5}',
  '{"sessionId":"s1","seq":1,"prevSeq":{"toString":1}}',
  '{"sessionId":"s1","seq":1,"prevSeq":null}',
  '{"sessionId":"s1","seq":1,"epoch":{"toString":1}}',
  '{"sessionId":"s1","seq":1,"epoch":7}',
]

/** Control frames whose fields are anything: they may do nothing, but not harm either. */
const BAD_CONTROLS: readonly string[] = [
  '{"type":"reconnected","resumeId":{"toString":1},"sessions":{"toString":1}}',
  '{"type":"reconnected","sessions":[{"sessionId":{"toString":1},"status":"reset","from":0,"to":0}]}',
  '{"type":"reconnected","sessions":[{"sessionId":"s1","status":{"toString":1}}]}',
  '{"type":"probe","nonce":{"toString":1}}',
  '{"type":"ack","id":{"toString":1},"status":200}',
  '{"type":"ack","id":"x","status":{"toString":1}}',
  '{"type":"ack","id":"x","status":200,"receipt":{"toString":1}}',
]

/** After all of them, what is an event comes through, on the same stream. */
export const badEvents: Trap = {
  row: 'C99',
  name: 'events that are none',
  over: ['eventsource', 'fetch', 'websocket'],
  async run(victim, over) {
    const server = await startHostileServer({
      async onStream(stream) {
        for (const event of [...BAD_EVENTS, ...BAD_CONTROLS]) await stream.say(event)
        await stream.say({ type: 'said', sessionId: 'good', seq: 1 })
      },
    })
    await victim.ask.open(server.url, over)
    const look = () => victim.ask.look().catch(() => undefined)
    await until(async () => victim.end !== undefined || ((await look())?.tracked ?? 0) > 0, 3_000)
    const seen = await look()
    const { streams } = server
    await server.close()
    if (victim.end !== undefined) return found({ streams }, `the client's process ended: ${victim.end}`)
    const { closed = 0, messages = 0, errors = {} } = seen ?? {}
    const reported = errors['bad-message'] ?? 0
    return found(
      { streams, closed, messages, reported },
      streams > 1 && `the client gave up ${streams - 1} streams, expected that it reports and goes on`,
      closed > 0 && `the line was lost ${closed} times, expected never`,
      seen?.tracked !== 1 && `the client tracks ${seen?.tracked} sessions after it, expected the one that had an event`,
      reported < BAD_EVENTS.length && `bad-message was reported ${reported} times, expected ${BAD_EVENTS.length}`,
    )
  },
}
