import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type ProxyMode = 'pass' | 'swallow questions' | 'swallow answers' | 'refuse'

/**
 * A TCP proxy before a Redis, on a free port of 127.0.0.1, that does to connections what networks
 * do.
 */
export async function startRedisProxy(port: number) {
  const sockets = new Set<Socket>()
  let mode: ProxyMode = 'pass'
  let attempts = 0
  let target = port
  const server = createServer((socket) => {
    attempts += 1
    if (mode === 'refuse') return void socket.destroy()
    const upstream = connect(target, '127.0.0.1')
    socket.on('data', (bytes) => mode !== 'swallow questions' && upstream.write(bytes))
    upstream.on('data', (bytes) => mode !== 'swallow answers' && socket.write(bytes))
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Connections that were tried. */
    get attempts() {
      return attempts
    },
    /** Where new connections lead. */
    set target(next: number) {
      target = next
    },
    set mode(next: ProxyMode) {
      mode = next
    },
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    close() {
      this.cut()
      server.close()
    },
  }
}
