import type { Connection } from 'holdline'
import { opened, type Way, type World } from './world'

/** One kind of coming and going. */
export interface Churn {
  readonly name: string
  /** What an iteration is. */
  readonly what: string
  /** It is so cheap that it is done so many times as often. */
  readonly times?: number
  begin(world: World): Promise<Running>
}

export interface Running {
  /**
   * The iterations from that number on, so many. When they are over, nothing of them is under way.
   */
  run(first: number, count: number): Promise<void>
  end(): void
}

/** Iterations that are under way at the same time. */
const AT_ONCE = 10

/** Connections that open, send a message to their session, and are disposed of. */
const connections = (way: Way) => async (world: World) => ({
  run: (first: number, count: number) =>
    inGroups(first, count, async (n) => {
      const connection = await world.connect(way)
      connection.watch(`session-${n}`)
      await connection.send({ type: 'send', sessionId: `session-${n}` }).settled
      connection.dispose()
    }),
  end() {},
})

/** Something that happens on one connection. */
const onOne = (way: Way, iterate: (connection: Connection, n: number) => Promise<unknown>, atOnce = AT_ONCE) =>
  async function begin(world: World): Promise<Running> {
    const connection = await world.connect(way)
    connection.watch('session-0')
    return {
      run: (first, count) => inGroups(first, count, (n) => iterate(connection, n), atOnce),
      end: connection.dispose,
    }
  }

const send = async (connection: Connection, sessionId: string) => {
  const verdict = await connection.send({ type: 'send', sessionId }).settled
  if (verdict.status !== 'accepted') throw new Error(`a message was ${verdict.status}`, { cause: verdict.error })
}

export const CHURNS = [
  {
    name: 'connections',
    what: 'a connection that opens, watches, sends, and is disposed of',
    begin: connections('in process'),
  },
  { name: 'http', what: 'the same over HTTP', begin: connections('HTTP') },
  { name: 'sockets', what: 'the same over a WebSocket', begin: connections('WebSocket') },
  {
    name: 'sessions',
    what: 'a session that is watched and unwatched; every hundredth on a fresh stream',
    begin: onOne('in process', async (connection, n) => {
      connection.watch(`session-${n}`)
      await send(connection, `session-${n}`)
      connection.unwatch(`session-${n}`)
      if (n % 100 === 0) await renew(connection)
    }),
  },
  {
    name: 'idle',
    what: 'a session that is watched and unwatched without a stream',
    times: 4,
    begin: onOne('in process', async (connection, n) => {
      connection.disconnect()
      connection.watch(`session-${n}`)
      connection.unwatch(`session-${n}`)
    }),
  },
  {
    name: 'leavings',
    what: 'a session that is unwatched just before its stream ends; fifty for each stream',
    times: 4,
    begin: onOne(
      'in process',
      async (connection, n) => {
        if (connection.phase === 'idle') {
          connection.connect()
          await opened(connection)
        }
        connection.unwatch(`session-${n}`)
        if (n % 50 === 0) connection.disconnect()
      },
      1,
    ),
  },
  {
    name: 'sends',
    what: 'a message to a session that is watched',
    begin: onOne('in process', (connection) => send(connection, 'session-0')),
  },
  {
    name: 'strangers',
    what: 'a message to a session that nobody watches; it is released when its answer is old',
    begin: onOne('in process', (connection, n) => send(connection, `session-${n}`)),
  },
  { name: 'streams', what: 'a fresh stream of the same connection', begin: onOne('in process', renew, 1) },
] as const satisfies readonly Churn[]

export type ChurnName = (typeof CHURNS)[number]['name']

async function renew(connection: Connection) {
  const open = opened(connection)
  connection.reconnect()
  await open
}

async function inGroups(first: number, count: number, iterate: (n: number) => Promise<unknown>, atOnce = AT_ONCE) {
  for (let n = first; n < first + count; n += atOnce) {
    const size = Math.min(atOnce, first + count - n)
    await Promise.all(Array.from({ length: size }, (_, index) => iterate(n + index)))
  }
}
