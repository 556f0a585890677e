import { setTimeout as sleep } from 'node:timers/promises'
import { type Dice, oneOf, type Random } from '../chaos/dice'
import type { RedisServer } from '../shared/redisServer'
import type { Probe } from './check'
import type { World } from './world'

export type Mishap = 'kill' | 'cut' | 'restart' | 'move'

export type Mishaps = ReturnType<typeof createMishaps>

/** How long Redis sleeps, s. */
const SLEEP = 0.1
/** Of a principal that nobody else is. */
const PROBER = { authorization: 'prober', 'content-type': 'application/json' }
/** Nothing of this may be done. */
const GHOSTS = {
  send: { type: 'send', sessionId: 'own-0', n: 1, whats: ['ghost'] },
  reconnect: { type: 'reconnect', sessions: [{ sessionId: 'own-0', lastSeq: 0 }] },
}

/** What is done to the cluster, one after the other. */
export function createMishaps(
  { nodes, redis }: NonNullable<World['cluster']>,
  tally: (what: string, times?: number) => void,
) {
  const probes: Probe[] = []
  /** Nodes on their way back. */
  const returning: Promise<void>[] = []
  const urlOf = (index: number, endpoint: string) => `http://127.0.0.1:${nodes.ports[index]}/api/chat/${endpoint}`

  async function anyUp(random: Random): Promise<number> {
    while (nodes.up().length === 0) await sleep(10)
    return oneOf(random, nodes.up())
  }

  async function openStream(index: number): Promise<string> {
    const { body } = await fetch(urlOf(index, 'events'), { headers: PROBER })
    const { value } = (await body?.getReader().read()) ?? {}
    return /"connectionId":"(.*?)"/.exec(Buffer.from(value ?? []).toString())?.[1] ?? ''
  }

  const tallied = (what: string, act: (nth: number) => Promise<void>) => (_: Random, nth: number) => {
    tally(what)
    return act(nth)
  }

  return {
    probes,
    returned: () => Promise.all(returning),

    async kill(random: Random) {
      const victim = await anyUp(random)
      const connectionId = await openStream(victim)
      returning.push(nodes.kill(victim))
      tally('nodes killed')
      for (const [endpoint, message] of Object.entries(GHOSTS)) {
        const url = urlOf(await anyUp(random), endpoint)
        const ask = async (id: string) => {
          const headers = { ...PROBER, 'x-connection-id': id }
          const startedAt = performance.now()
          const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(message) }).catch(
            () => undefined,
          )
          return { status: response?.status, ms: performance.now() - startedAt }
        }
        // The same of a stream that no node has to be asked about: so long the machine takes now.
        const base = await ask('unknown')
        const { status, ms } = await ask(connectionId)
        probes.push({ what: endpoint, status, ms: Math.max(0, ms - base.ms) })
      }
    },

    async cut(random: Random, nth: number) {
      tally('cuts')
      tally('Redis connections cut', await cut(oneOf(random, redis.servers), random, nth))
    },

    restart: tallied('restarts of Redis', redis.lose),
    move: tallied('slots moved', redis.move),
  }
}

/**
 * In turn: all that commands go over, all that announcements go over, one of the latter. Returns
 * how many those were.
 */
async function cut(redis: RedisServer, random: Random, nth: number): Promise<number> {
  const { admin } = redis
  if (nth % 3 === 0) return cutUnanswered(redis)
  if (nth % 3 === 1) return Number(await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
  const ids = await clientsOf(redis, 'pubsub')
  return ids.length > 0 ? Number(await admin.call('CLIENT', 'KILL', 'ID', oneOf(random, ids))) : 0
}

/**
 * While Redis sleeps, commands pile up, and the cut behind them. In one turn it carries them out
 * and closes the connections that it would have answered on.
 */
async function cutUnanswered(redis: RedisServer): Promise<number> {
  const { admin } = redis
  const second = admin.duplicate()
  const own = [String(await admin.client('ID')), String(await second.client('ID'))]
  const ids = (await clientsOf(redis, 'normal')).filter((id) => !own.includes(id))
  const sleeping = admin.call('DEBUG', 'SLEEP', SLEEP)
  await sleep(500 * SLEEP)
  const results = await second.pipeline(ids.map((id) => ['client', 'kill', 'id', id])).exec()
  await sleeping
  second.disconnect()
  return results?.filter(([error]) => !error).length ?? 0
}

const clientsOf = async ({ admin }: RedisServer, type: 'normal' | 'pubsub') =>
  String(await admin.call('CLIENT', 'LIST', 'TYPE', type)).match(/(?<=^id=)\d+/gm) ?? []

/** When what is to be done, s. About evenly: all at one moment would leave nothing to break. */
export const schedule = ({ draw }: Dice, times: Readonly<Record<Mishap, number>>, seconds: number) =>
  Object.entries(times)
    .flatMap(([name, count]) =>
      Array.from({ length: count }, (_, nth) => ({
        name: name as Mishap,
        nth,
        at: (seconds * (nth + draw('at', name, nth)())) / count,
      })),
    )
    .sort((one, other) => one.at - other.at)
