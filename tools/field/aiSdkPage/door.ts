import { connect, createServer, type Socket } from 'node:net'
import { freePort } from '../../shared/freePort'

/** The network between the browser and a server: all that it carries can be cut, or go dead. */
export async function openDoor(target: number) {
  const port = await freePort()
  const lines = new Set<readonly [Socket, Socket]>()
  const door = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    const line = [near, far] as const
    lines.add(line)
    near.pipe(far)
    far.pipe(near)
    for (const socket of line) {
      socket.on('error', () => {})
      socket.on('close', () => {
        lines.delete(line)
        near.destroy()
        far.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => door.listen(port, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${port}`,
    /** Resets every socket. */
    cut() {
      for (const [near] of lines) near.resetAndDestroy()
    },
    /** From now on nothing more comes through what is open, and nobody is told. New sockets are sound. */
    silence() {
      for (const [near, far] of lines) {
        near.unpipe(far)
        far.unpipe(near)
        near.resume()
        far.resume()
      }
    },
    async close() {
      for (const [near] of lines) near.destroy()
      await new Promise((resolve) => door.close(resolve))
    },
  }
}
