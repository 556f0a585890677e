import { afterAll, beforeAll } from 'vitest'
import { createGateway, startNode } from './children'
import { type RedisServer, startRedis } from './redis'

/**
 * Nodes of a program on one Redis, for the tests of this block. The program is given the Redis and
 * the node's name. `second` is there from the first test to the last.
 *
 * @param patience for the start, ms
 */
export function nodesOnRedis(program: URL, patience: number) {
  let redis: RedisServer
  const nodes: { kill(): Promise<void> }[] = []
  const start = async (name: string) => {
    const node = await startNode(program, [redis.url, name])
    nodes.push(node)
    return node
  }
  let second: Awaited<ReturnType<typeof start>>
  beforeAll(async () => {
    redis = await startRedis()
    second = await start('second')
  }, patience)
  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.kill()))
    await redis.stop()
  })
  return {
    start,
    second: () => second,
    /** One more, and a gateway that leads to it. */
    async startFirst() {
      const first = await start('first')
      const gateway = createGateway()
      gateway.leadTo(first.url)
      return { first, gateway }
    },
  }
}
