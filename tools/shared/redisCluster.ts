import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import { freePort } from './freePort'
import { type RedisServer, startRedis } from './redisServer'

/** [spec] */
const SLOTS = 16_384
/**
 * How long a server is silent until the others take it for dead, ms. On a machine that is busy one
 * that lives is silent for a second, and would be replaced unasked.
 */
const NODE_TIMEOUT = 2_000
/** Keys that are moved together. */
const PAGE = 20
const STUCK = 30_000

export interface StartClusterOptions {
  /** Default: 3. */
  readonly shards?: number
  /** Whether each primary has a replica. Default: it has none. */
  readonly hasReplicas?: boolean
}

export type RedisCluster = Awaited<ReturnType<typeof startRedisCluster>>

/**
 * A real Redis Cluster on free ports of 127.0.0.1. A shard that is down takes only its slots along.
 */
export async function startRedisCluster({ shards = 3, hasReplicas = false }: StartClusterOptions = {}) {
  const count = hasReplicas ? 2 * shards : shards
  const servers = await Promise.all(Array.from({ length: count }, startMember))
  const primaries = servers.slice(0, shards)
  await Promise.all(primaries.map((server, index) => giveSlots(server, index, shards)))
  await meet(servers)
  for (const [index, replica] of servers.slice(shards).entries()) await follow(replica, primaries[index] as Member)
  await Promise.all(servers.map((server) => until('the cluster', () => isWhole(server, count))))
  const createClient = () => new Cluster(addressesOf(servers), { lazyConnect: true })
  const admin = createClient()
  admin.on('error', () => {})
  await admin.connect()

  /** Those that have slots, and which. */
  async function ownership(): Promise<ReadonlyMap<number, readonly string[]>> {
    const known = await Promise.all(servers.map((server) => rangesOf(server)))
    return new Map([...known.entries()].filter(([, ranges]) => ranges.length > 0))
  }

  /** The index of the server that has the slot. */
  async function ownerOf(slot: number): Promise<number> {
    for (const [index, ranges] of await ownership()) if (ranges.some((range) => has(range, slot))) return index
    throw new Error(`no server has slot ${slot}`)
  }

  return {
    servers,
    /** To look and meddle with: what has a key goes to whoever has it. */
    admin,
    /** A client as an app has it, not connected yet. */
    createClient,
    ports: servers.map(({ port }) => port),
    ownerOf,
    owners: async () => [...(await ownership()).keys()],
    /** Resolves when another server has the slot than `before`. */
    promoted: (slot: number, before: number) =>
      until('a promotion', async () => (await ownerOf(slot).catch(() => before)) !== before),
    /** Of all servers. */
    async keys(pattern: string): Promise<readonly string[]> {
      // Not of those that `admin` knows: while it asks anew who has which slot, one may be missing.
      return [...new Set((await Promise.all(servers.map((server) => server.admin.keys(pattern)))).flat())]
    },
    async cut() {
      await Promise.all(servers.map((server) => server.cut()))
    },
    /** Moves a slot, key by key, as `redis-cli --cluster reshard` does it. */
    async moveSlot(slot: number, to: number): Promise<number> {
      const from = await ownerOf(slot)
      return move({ slot, from: servers[from] as Member, to: servers[to] as Member, servers })
    },
    async stop() {
      admin.disconnect()
      await Promise.all(servers.map((server) => server.stop()))
    },
  }
}

/** A server of the cluster, and its name there. */
interface Member extends RedisServer {
  readonly id: string
  readonly busPort: number
}

async function startMember(): Promise<Member> {
  const busPort = await freePort()
  const server = await startRedis({
    args: [
      ...['--cluster-enabled', 'yes', '--cluster-port', String(busPort)],
      ...['--cluster-node-timeout', String(NODE_TIMEOUT), '--cluster-require-full-coverage', 'no'],
      ...['--cluster-announce-ip', '127.0.0.1', '--enable-debug-command', 'yes'],
    ],
  })
  return { ...server, busPort, id: String(await server.admin.cluster('MYID')) }
}

async function giveSlots({ admin }: Member, index: number, shards: number) {
  const [first, next] = [index, index + 1].map((at) => Math.round((at * SLOTS) / shards)) as [number, number]
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', first, next - 1)
  await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
}

/**
 * [spec] A handshake that takes longer than the node timeout is given up, and by itself it is not
 * begun again. `MEET` changes nothing while one is under way.
 */
async function meet(servers: readonly Member[]) {
  const [first] = servers as readonly [Member]
  await until('a meeting', async () => {
    const strangers = await strangersOf(first, servers)
    for (const { port, busPort } of strangers) await first.admin.call('CLUSTER', 'MEET', '127.0.0.1', port, busPort)
    const others = await Promise.all(servers.map((server) => strangersOf(server, servers)))
    return strangers.length + others.flat().length === 0
  })
}

/** Those that a server does not know by their names. */
async function strangersOf({ admin }: Member, servers: readonly Member[]): Promise<readonly Member[]> {
  const known = String(await admin.cluster('NODES'))
  return servers.filter(({ id }) => !known.includes(id))
}

async function follow({ admin }: Member, primary: Member) {
  await until('a primary to follow', () =>
    admin.call('CLUSTER', 'REPLICATE', primary.id).then(
      () => true,
      () => false,
    ),
  )
  await until('its data', async () => /master_link_status:up/.test(await admin.info('replication')))
}

/** All servers are known, and each slot is somebody's. */
const isWhole = async ({ admin }: Member, count: number) =>
  (await infoOf(admin, 'state')) === 'ok' && (await infoOf(admin, 'known_nodes')) === String(count)

async function infoOf(admin: Member['admin'], field: string): Promise<string | undefined> {
  return new RegExp(`cluster_${field}:(\\w+)`).exec(String(await admin.cluster('INFO')))?.[1]
}

/** The slots that it has, as it says; none if it does not answer. */
async function rangesOf({ admin }: Member): Promise<readonly string[]> {
  const text = await Promise.race([admin.cluster('NODES'), sleep(300)])
  const own = /^\S+ \S+ myself,master.*?connected(.*)$/m.exec(String(text ?? ''))?.[1] ?? ''
  return own.split(' ').filter((range) => /^\d/.test(range))
}

const has = (range: string, slot: number) => {
  const [first = '', last = first] = range.split('-')
  return Number(first) <= slot && slot <= Number(last)
}

export const addressesOf = (servers: readonly { readonly port: number }[]) =>
  servers.map(({ port }) => ({ host: '127.0.0.1', port }))

interface Move {
  readonly slot: number
  readonly from: Member
  readonly to: Member
  readonly servers: readonly Member[]
}

/** Returns how many keys that were. */
async function move({ slot, from, to, servers }: Move): Promise<number> {
  await to.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id)
  await from.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id)
  let moved = 0
  for (;;) {
    const keys = (await from.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, PAGE)) as string[]
    if (keys.length === 0) break
    await from.admin.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5_000, 'KEYS', ...keys)
    moved += keys.length
  }
  // The new one first, so that nobody is led in a circle.
  for (const { admin } of new Set([to, from, ...servers]))
    await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id).catch(() => {})
  return moved
}

async function until(what: string, isMet: () => Promise<unknown>) {
  for (const end = Date.now() + STUCK; !(await isMet()); await sleep(20))
    if (Date.now() > end) throw new Error(`the cluster does not get on: ${what} does not come`)
}
