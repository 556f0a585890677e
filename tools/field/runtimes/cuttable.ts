import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/**
 * Stands before a server whose host does not give its connections away, so that they can be cut
 * without a word.
 */
export async function cuttable(port: number) {
  const sockets = new Set<Socket>()
  let state: 'up' | 'down' = 'up'
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((socket) => {
    if (state === 'down') return void socket.destroy()
    const upstream = connect({ port, host: '127.0.0.1' })
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      keep(from)
      from.pipe(to)
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    /** Until `up` no connection comes through. */
    down() {
      state = 'down'
      cut()
    },
    up() {
      state = 'up'
    },
    async close() {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
