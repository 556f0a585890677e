import { cpSync, mkdirSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createApp, run, startApp } from '../app'

const root = (name: string) => fileURLToPath(new URL(`../../../node_modules/${name}`, import.meta.url))
const own = (name: string) => fileURLToPath(new URL(`../node_modules/${name}`, import.meta.url))
const OF_ROOT = [
  ...['@hono/node-server', 'hono', 'ioredis', 'react', 'react-dom', 'zod'],
  ...['@types/node', '@types/react', '@types/react-dom', 'typescript', 'vitest'],
]
const OF_FIELD = ['vite', '@vitejs/plugin-react']
/** As npm makes them. */
const COMMANDS = { tsc: 'typescript/bin/tsc', vite: 'vite/bin/vite.js', vitest: 'vitest/vitest.mjs' }
/** This is a test, and what it starts is none. */
const PLAIN = { NODE_ENV: undefined, VITEST: undefined, FORCE_COLOR: undefined, NO_COLOR: '1' }

export const LOGS = ['memory', 'redis'] as const
export type Log = (typeof LOGS)[number]

/** examples/app as it is in the tarball, in a folder of its own, with its packages. */
export function createStarter(log: Log) {
  const { folder, remove } = createApp({})
  const path = (name: string) => join(folder, name)
  const link = (target: string, name: string) => {
    mkdirSync(dirname(path(name)), { recursive: true })
    symlinkSync(target, path(name))
  }
  cpSync(path('node_modules/holdline/examples/app'), folder, { recursive: true })
  if (log !== 'memory') cpSync(path(`variants/${log}`), folder, { recursive: true })
  for (const name of OF_ROOT) link(root(name), `node_modules/${name}`)
  for (const name of OF_FIELD) link(own(name), `node_modules/${name}`)
  for (const [name, target] of Object.entries(COMMANDS))
    link(path(`node_modules/${target}`), `node_modules/.bin/${name}`)
  return {
    folder,
    remove,
    run: (script: string) => run('npm', ['run', '--silent', script], folder, PLAIN),
    /** What `npm start` does. */
    start: (variables: Readonly<Record<string, string>>) =>
      startApp(['dist/server/main.js'], folder, process.execPath, { ...PLAIN, ...variables }),
    /** What `npm run dev` does. */
    develop: (port: number, variables: Readonly<Record<string, string>>) =>
      startApp(
        [path('node_modules/vite/bin/vite.js'), '--host', '127.0.0.1', '--port', String(port), '--strictPort'],
        folder,
        process.execPath,
        { ...PLAIN, ...variables },
      ),
  }
}

export type Starter = ReturnType<typeof createStarter>
