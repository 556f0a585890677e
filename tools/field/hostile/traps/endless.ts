import type { ServerResponse } from 'node:http'
import { startHostileServer } from '../hostileServer'
import { type Trap, until, watchMemory } from '../trap'
import { found, MIB, text } from '../wire'

const SIZE = 300 * MIB
const CHUNK = text(MIB)
/** What a client may hold of what will never be a frame or an answer, MiB. */
const MAX_MEMORY = 128
/** How long it is given for the whole, ms. */
const PATIENCE = 6_000

/** A frame that does not end: its sender decides how much its reader holds. */
export const endlessLine: Trap = {
  row: 'C110',
  name: 'a line of 300 MB',
  over: ['eventsource', 'fetch', 'websocket'],
  async run(victim, over) {
    let sent = 0
    let cuts = 0
    const server = await startHostileServer({
      async onStream(stream) {
        if (over === 'websocket') {
          // One message: a WebSocket has its length in front.
          sent += 90 * MIB
          return stream.say(text(90 * MIB))
        }
        await stream.raw('data: ')
        // Not more than that in all, however often the client comes back for it.
        for (; sent < SIZE && !stream.isOver; sent += MIB) await stream.raw(CHUNK)
        if (stream.isOver) cuts += 1
        await stream.raw('\n\n')
      },
    })
    await until(() => victim.rss() > 0)
    const memory = watchMemory(victim)
    await victim.ask.open(server.url, over)
    await until(async () => sent >= SIZE || victim.end !== undefined || cuts > 2 || over === 'websocket', PATIENCE)
    await until(() => victim.end !== undefined, 1_000)
    const risen = memory()
    await server.close()
    return found(
      { 'sent MB': Math.round(sent / MIB), cuts, 'RSS +MiB': risen },
      victim.end !== undefined && `the client's process ended: ${victim.end}`,
      risen > MAX_MEMORY && `the client's memory rose by ${risen} MiB, more than ${MAX_MEMORY}`,
    )
  },
}

/** The answer to a POST, as a success and as an error. */
export const endlessAnswer: Trap = {
  row: 'C110',
  name: 'an answer of 300 MB',
  over: ['eventsource', 'fetch'],
  async run(victim, over) {
    let sent = 0
    let answers = 0
    const answer = (response: ServerResponse) => {
      response.writeHead(answers++ % 2 ? 200 : 400, { 'Content-Type': 'application/json' })
      response.write('{"error":"')
      const pump = () => {
        for (; sent < SIZE && !response.destroyed; sent += MIB) if (!response.write(CHUNK)) return
        response.end('"}')
      }
      response.on('drain', pump)
      pump()
    }
    const server = await startHostileServer({
      features: ['receipts', 'idempotency'],
      onRequest(request, response) {
        const isSend = request.url?.endsWith('/send') ?? false
        if (isSend) answer(response)
        return isSend
      },
    })
    await victim.ask.open(server.url, over)
    await until(async () => (await victim.ask.look()).phase === 'open')
    const memory = watchMemory(victim)
    void victim.ask.send().catch(() => {})
    await until(() => sent >= SIZE || victim.end !== undefined || answers > 2, PATIENCE)
    await until(() => victim.end !== undefined, 1_000)
    const risen = memory()
    await server.close()
    return found(
      { 'sent MB': Math.round(sent / MIB), answers, 'RSS +MiB': risen },
      answers === 0 && 'nothing was posted: the attack has shown nothing',
      victim.end !== undefined && `the client's process ended: ${victim.end}`,
      risen > MAX_MEMORY && `the client's memory rose by ${risen} MiB, more than ${MAX_MEMORY}`,
    )
  },
}
