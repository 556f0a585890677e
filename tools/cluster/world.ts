import { type ChatServer, createChatServer, memoryLog } from 'holdline/server'
import { redisLog } from 'holdline/server/redis'
import { type RedisServer, startRedis } from '../shared/redisServer'
import type { Log } from './check'
import { startNode } from './node'
import { type Nodes, type NodesOptions, startNodes } from './nodes'
import { tell } from './runs'

/** What the clients talk to. */
export interface World {
  readonly ports: readonly number[]
  /** For the producer. */
  publish: ChatServer['publish']
  /** What stands in the log, seen past everything that is under test. */
  read(sessionId: string): Promise<Log>
  readonly cluster?: { readonly nodes: Nodes; readonly redis: RedisServer }
  close(): Promise<void>
}

export async function redisWorld(options: Omit<NodesOptions, 'url'>): Promise<World> {
  const redis = await startRedis({ args: ['--enable-debug-command', 'yes'] })
  const nodes = await startNodes({ ...options, url: redis.url })
  const log = redisLog({ url: redis.url, maxEvents: 1_000_000 })
  // A process that serves nobody. That Redis is away for a moment is what this is about.
  const peer = createChatServer({
    log,
    authenticate: () => null,
    authorize: () => false,
    onCommand: () => null,
    onError: () => {},
  })
  return {
    ports: nodes.ports,
    publish: peer.publish,
    async read(sessionId) {
      const key = `holdline:{${sessionId}}`
      const entries = await redis.admin.xrange(`${key}:log`, '-', '+')
      const events = entries.map(([id, [, json = '']]) => `${id.split('-')[1]} ${tell(JSON.parse(json))}`)
      return { epoch: (await redis.admin.hget(`${key}:meta`, 'epoch')) ?? '', events }
    },
    cluster: { nodes, redis },
    async close() {
      await peer.close()
      log.close()
      await nodes.close()
      await redis.stop()
    },
  }
}

/** One node, in this very process. */
export async function memoryWorld(onSurprise: (what: string) => void): Promise<World> {
  const log = memoryLog({ maxEvents: 1_000_000 })
  const node = await startNode({ log, port: 0, onError: (error) => onSurprise(`an error in the server: ${error}`) })
  return {
    ports: [node.port],
    publish: node.publish,
    async read(sessionId) {
      const entries = await log.read(sessionId, 0, Number.POSITIVE_INFINITY)
      const { epoch } = await log.head(sessionId)
      return { epoch, events: entries.map(({ seq, event }) => `${seq} ${tell(event)}`) }
    },
    close: node.close,
  }
}
