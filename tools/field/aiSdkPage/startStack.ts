import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BuildOptions } from 'esbuild'
import { freePort } from '../../shared/freePort'
import type { RedisServer } from '../../shared/redisServer'
import { bundleForPage, bundleForRuntime } from '../bundle'
import { start } from '../process'
import { findPackage } from '../tools'
import { openDoor } from './door'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

export const STACKS = ['holdline', 'resumable', 'durable'] as const
export type StackName = (typeof STACKS)[number]

/** Beside the version 6 of `ai`, which it needs. */
const RIVALS = ['@durable-streams/aisdk-transport', '@ai-sdk/react', 'ai', 'react', 'react-dom']
const rival = (name: string) => here(`../rivals/node_modules/${name}`)

/** Where the packages of a stack are, by name. */
const packagesOf = (stack: StackName): Record<string, string> =>
  stack === 'durable' ? Object.fromEntries(RIVALS.map((name) => [name, rival(name)])) : {}

/** A stack, bundled, and served by a process on Node 22 that can be killed. */
export async function startStack(stack: StackName, redis: RedisServer) {
  const alias = packagesOf(stack)
  const server = await bundleForRuntime(`./aiSdkPage/stacks/${stack}.server.ts`, { alias })
  const page: BuildOptions = { alias, define: { 'process.env.NODE_ENV': '"production"' }, minify: true }
  const script = await bundleForPage(`./aiSdkPage/pages/${stack}.tsx`, page)
  const PAGE = join(dirname(server.path), 'page.js')
  writeFileSync(PAGE, script)
  const port = await freePort()
  const streams = stack === 'durable' ? await startStreams() : undefined
  const door = await openDoor(port)
  const env = {
    ...process.env,
    PORT: String(port),
    PAGE,
    REDIS_URL: redis.url,
    ...(streams && { DURABLE_URL: streams.url }),
  }
  let running = await launch()

  async function launch() {
    const running = start(join(findPackage('node22') ?? '', 'bin/node'), [server.path], { env })
    await new Promise<void>((resolve, reject) => {
      running.onLine((line) => line === 'ready' && resolve())
      running.exited.then(() => reject(new Error(`${stack} does not start: ${running.complaint()}`)))
    })
    return running
  }

  return {
    stack,
    script,
    url: (chat: string) => `${door.origin}/?chat=${chat}`,
    cut: door.cut,
    silence: door.silence,
    /** SIGKILL, and a new process in its place. */
    async restart() {
      await running.stop()
      running = await launch()
    },
    complaint: () => running.complaint(),
    async close() {
      await Promise.all([door.close(), running.stop(), streams?.stop()])
      server.remove()
    },
  }
}

export type RunningStack = Awaited<ReturnType<typeof startStack>>

/** The stream server of `@durable-streams`, a process of its own, as Redis is one. */
async function startStreams() {
  const port = await freePort()
  const program = `const { DurableStreamTestServer } = await import(${JSON.stringify(`${rival('@durable-streams/server')}/dist/index.js`)})
await new DurableStreamTestServer({ port: ${port}, host: '127.0.0.1' }).start()
console.log('ready')`
  const running = start(join(findPackage('node22') ?? '', 'bin/node'), ['--input-type=module', '-e', program])
  await new Promise<void>((resolve) => running.onLine((line) => line === 'ready' && resolve()))
  return { url: `http://127.0.0.1:${port}`, stop: running.stop }
}

/** `name version`, of what a stack is made of. */
export function versionsOf(stack: StackName): string[] {
  const own = stack === 'durable' ? rival : (name: string) => findPackage(name) ?? name
  const names = ['ai', '@ai-sdk/react']
  if (stack === 'resumable') names.push('resumable-stream')
  if (stack === 'durable') names.push('@durable-streams/aisdk-transport', '@durable-streams/server')
  return names.map((name) => `${name} ${JSON.parse(readFileSync(`${own(name)}/package.json`, 'utf8')).version}`)
}
