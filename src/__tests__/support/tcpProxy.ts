import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { seededRandom } from '../../testing/harness/random'

/**
 * A TCP proxy on a free port of 127.0.0.1 that cuts what passes into small pieces and lets some of
 * them wait.
 */
export async function startTcpProxy(port: number, seed: number) {
  const random = seededRandom(seed)
  const sockets = new Set<Socket>()

  function pass(from: Socket, to: Socket) {
    let last = Promise.resolve()
    from.on('data', (bytes: Buffer) => {
      from.pause()
      last = deliver(bytes, to).then(() => void from.resume())
    })
    from.on('end', () => void last.then(() => to.end()))
    from.on('error', () => to.destroy())
    from.on('close', () => {
      sockets.delete(from)
      void last.then(() => to.destroy())
    })
  }

  async function deliver(bytes: Buffer, to: Socket) {
    for (let at = 0; at < bytes.length && !to.destroyed; ) {
      // Small at first, where the frames begin; a large body would take minutes.
      const size = 1 + Math.floor(random() * (at < 2_000 ? 40 : 20_000))
      to.write(bytes.subarray(at, at + size))
      at += size
      await new Promise((resolve) => (random() < 0.05 ? setTimeout(resolve, 10 * random()) : setImmediate(resolve)))
    }
  }

  const server = createServer((socket) => {
    const upstream = connect({ port, host: '127.0.0.1' })
    for (const each of [socket, upstream]) {
      sockets.add(each)
      each.setNoDelay(true)
    }
    pass(socket, upstream)
    pass(upstream, socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    async close() {
      this.cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
