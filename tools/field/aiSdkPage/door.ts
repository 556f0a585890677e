import { connect, createServer, type Socket } from 'node:net'
import { freePort } from '../../shared/freePort'

/** The network between the browser and a server: all that it carries can be cut, or go dead. */
export async function openDoor(target: number) {
  const port = await freePort()
  const lines = new Set<Line>()
  const door = createServer((near) => {
    const line: Line = { near, far: connect(target, '127.0.0.1'), state: 'sound' }
    lines.add(line)
    for (const [socket, other] of [
      [near, line.far],
      [line.far, near],
    ] as const) {
      socket.on('data', (data) => line.state === 'sound' && other.write(data))
      socket.on('error', () => {})
      socket.on('close', () => line.state === 'sound' && other.destroy())
    }
    near.on('close', () => lines.delete(line))
  })
  await new Promise<void>((resolve) => door.listen(port, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${port}`,
    /** Resets every socket. */
    cut() {
      for (const { near } of lines) near.resetAndDestroy()
    },
    /** From now on nothing comes through what is open, not even its end. New sockets are sound. */
    silence() {
      for (const line of lines) line.state = 'dead'
    },
    async close() {
      for (const { near, far } of lines) {
        near.destroy()
        far.destroy()
      }
      await new Promise((resolve) => door.close(resolve))
    },
  }
}

interface Line {
  readonly near: Socket
  readonly far: Socket
  state: 'sound' | 'dead'
}
