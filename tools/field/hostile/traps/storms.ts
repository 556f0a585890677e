import { type Stream, startHostileServer } from '../hostileServer'
import { pause, type Trap, until, watchMemory } from '../trap'
import { found } from '../wire'

/**
 * How long a storm is measured, ms, and what a client may do for it in a second: an honest server
 * causes none at all.
 */
const STORM = 4_000
const PER_SECOND = 10
const MAX_TRACKED = 10_000
const MAX_MEMORY = 128

/**
 * Each resume brings what was missing, and the next event lies behind another hole: progress, for
 * ever.
 */
export const resumeStorm: Trap = {
  row: 'C107',
  name: 'a hole behind every event',
  over: ['eventsource', 'fetch', 'websocket'],
  async run(victim, over) {
    let seq = 1
    const hole = (stream: Stream | undefined) => {
      seq += 1
      void stream?.say({ type: 'said', sessionId: 's1', seq })
      void stream?.say({ type: 'said', sessionId: 's1', seq: seq + 2 })
    }
    const server = await startHostileServer({
      onStream: (stream) => void stream.say({ type: 'said', sessionId: 's1', seq: 1 }).then(() => hole(stream)),
      onPost({ endpoint, stream }) {
        if (endpoint === 'reconnect') setTimeout(() => hole(stream), 1)
        return undefined
      },
    })
    await victim.ask.open(server.url, over)
    await pause(STORM)
    const resumes = server.posts.filter(({ endpoint }) => endpoint === 'reconnect').length
    const { streams } = server
    await server.close()
    const rate = Math.round((resumes * 1_000) / STORM)
    return found(
      { resumes, streams, 'resumes/s': rate },
      resumes + streams === 1 && 'nothing was resumed: the attack has shown nothing',
      rate > PER_SECOND && `the server made the client resume ${rate} times a second, more than ${PER_SECOND}`,
    )
  },
}

/** Two epochs in turn: each event is of another life of the log than the one before. */
export const resetStorm: Trap = {
  row: 'C107',
  name: 'epochs that flip',
  over: ['eventsource', 'fetch', 'websocket'],
  async run(victim, over) {
    const end = Date.now() + STORM
    let said = 0
    const server = await startHostileServer({
      async onStream(stream) {
        while (Date.now() < end && !stream.isOver) {
          said += 2
          await stream.say({ type: 'said', sessionId: 's1', seq: said, epoch: 'a' })
          await stream.say({ type: 'said', sessionId: 's1', seq: said + 1, epoch: 'b' })
        }
      },
    })
    await victim.ask.open(server.url, over)
    await pause(STORM)
    const look = await victim.ask.look().catch(() => undefined)
    await server.close()
    const rate = Math.round(((look?.resets ?? 0) * 1_000) / STORM)
    return found(
      { said, resets: look?.resets ?? 0, 'resets/s': rate },
      said === 0 && 'nothing was said: the attack has shown nothing',
      !look && `the client's process ended: ${victim.end}`,
      rate > PER_SECOND && `the app was told of ${rate} resets a second, more than ${PER_SECOND}`,
    )
  },
}

/**
 * Each event opens a session of its own, which is tracked, resumed and, where there is a storage,
 * stored for good.
 */
export const sessionStorm: Trap = {
  row: 'C107',
  name: 'a session for every event',
  over: ['eventsource', 'fetch', 'websocket'],
  async run(victim, over) {
    const end = Date.now() + STORM
    let said = 0
    const server = await startHostileServer({
      async onStream(stream) {
        while (Date.now() < end && !stream.isOver) await stream.say({ type: 'said', sessionId: `s${said++}`, seq: 1 })
      },
    })
    await until(() => victim.rss() > 0)
    const memory = watchMemory(victim)
    await victim.ask.open(server.url, over)
    await pause(STORM)
    const look = await victim.ask.look().catch(() => undefined)
    const risen = memory()
    await server.close()
    const tracked = look?.tracked ?? 0
    return found(
      { said, tracked, 'RSS +MiB': risen },
      said <= MAX_TRACKED && `only ${said} events were said: the attack has shown nothing`,
      !look && `the client's process ended: ${victim.end}`,
      tracked > MAX_TRACKED &&
        `the client tracks ${tracked} sessions that it never asked for, more than ${MAX_TRACKED}`,
      risen > MAX_MEMORY && `the client's memory rose by ${risen} MiB, more than ${MAX_MEMORY}`,
    )
  },
}
