import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Programs } from './programs'
import type { RedisAddress } from './redisAddress'

export interface NodesOptions {
  readonly count: number
  readonly programs: Programs
  readonly redis: RedisAddress
  /** Where somebody listens has changed. */
  onChange(): void
  onSurprise(what: string): void
}
export type Nodes = Awaited<ReturnType<typeof startNodes>>

/**
 * Node processes on fixed ports. One that ends unasked is a surprise; one that was ended comes back
 * under another name.
 */
export async function startNodes({ count, programs, redis, onChange, onSurprise }: NodesOptions) {
  async function launch(port: number) {
    const child = programs.start('nodeProcess', { redis, port })
    const node = { child, port, isUp: true }
    const exit = once(child, 'exit').then(([code, signal]) => {
      if (node.isUp) onSurprise(`a node has ended: ${signal ?? code}`)
      return undefined
    })
    const started = await Promise.race([once(child, 'message'), exit])
    if (!started) throw new Error('a node could not start')
    node.port = started[0]
    return node
  }

  /** Ends one, and resolves when another one is there in its place. */
  async function replace(index: number, signal: NodeJS.Signals) {
    const node = nodes[index]
    if (!node?.isUp) return
    await end(node, signal)
    nodes[index] = await launch(node.port)
    onChange()
  }

  async function end(node: { child: ChildProcess; isUp: boolean }, signal: NodeJS.Signals) {
    node.isUp = false
    const exit = once(node.child, 'exit')
    node.child.kill(signal)
    onChange()
    await exit
  }

  const nodes = await Promise.all(Array.from({ length: count }, () => launch(0)))
  return {
    ports: nodes.map(({ port }) => port),
    /** The indices of those that listen. */
    up: () => nodes.flatMap(({ isUp }, index) => (isUp ? [index] : [])),
    kill: (index: number) => replace(index, 'SIGKILL'),
    /** What ends it is its own `close`. */
    drain: (index: number) => replace(index, 'SIGTERM'),
    async close() {
      for (const node of nodes) await end(node, 'SIGKILL')
    },
  }
}
