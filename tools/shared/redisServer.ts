import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from './freePort'

/** `REDIS_SERVER`, or whatever is on the path. */
const program = process.env.REDIS_SERVER ?? 'redis-server'
export const hasRedis = spawnSync(program, ['--version']).status === 0

export interface RedisServer {
  readonly url: string
  readonly port: number
  /** To look and meddle with. */
  readonly admin: Redis
  /** Cuts all connections but `admin`. */
  cut(): Promise<void>
  down(): Promise<void>
  /** On the same port, with nothing. */
  up(): Promise<void>
  restartEmpty(): Promise<void>
  stop(): Promise<void>
}

export interface StartRedisOptions {
  readonly port?: number
  readonly args?: readonly string[]
}

/** A real server on a free port of 127.0.0.1 that writes nothing to disk. */
export async function startRedis({ port: wanted, args = [] }: StartRedisOptions = {}): Promise<RedisServer> {
  const port = wanted ?? (await freePort())
  // Even without persistence a replica keeps what it was sent, and loads it when it starts.
  const folder = await mkdtemp(join(tmpdir(), 'holdline-redis-'))
  const start = () => launch(port, ['--dir', folder, ...args])
  let server = await start()
  const admin = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null, retryStrategy: () => 20 })
  admin.on('error', () => {})
  await admin.ping()
  async function end() {
    if (server.exitCode !== null || server.signalCode !== null) return
    const exit = once(server, 'exit')
    server.kill('SIGKILL')
    await exit
  }
  async function up() {
    await rm(join(folder, 'dump.rdb'), { force: true })
    server = await start()
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    admin,
    async cut() {
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    },
    down: end,
    up,
    async restartEmpty() {
      await end()
      await up()
    },
    async stop() {
      admin.disconnect()
      await end()
      await rm(folder, { recursive: true })
    },
  }
}

async function launch(port: number, args: readonly string[]): Promise<ChildProcess> {
  const own = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--repl-diskless-sync-delay',
    '0',
  ]
  const server = spawn(program, [...own, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  // Whatever becomes of this process.
  const kill = () => server.kill('SIGKILL')
  process.once('exit', kill)
  server.once('exit', () => process.off('exit', kill))
  let said = ''
  for await (const chunk of server.stdout) {
    said += chunk
    if (said.includes('Ready to accept connections')) return server
  }
  throw new Error(`redis-server does not start:\n${said}`)
}
