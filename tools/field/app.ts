import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createAdaptorServer } from '@hono/node-server'
import { createChatServer } from 'holdline/server'

const root = fileURLToPath(new URL('../..', import.meta.url))
const OWN = fileURLToPath(new URL('./node_modules', import.meta.url))

let tarball: string | undefined

/** Packs holdline, once, with its `prepack`, which builds. */
export function pack(): string {
  if (tarball) return tarball
  const folder = mkdtempSync(join(tmpdir(), 'holdline-pack-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const packed = spawnSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: root, encoding: 'utf8' })
  if (packed.status !== 0) throw new Error(`npm pack: ${packed.stderr}`)
  const [{ filename }] = JSON.parse(packed.stdout.slice(packed.stdout.indexOf('[')))
  tarball = join(folder, filename)
  return tarball
}

/**
 * An app as a user has it: a folder of files, and in its node_modules holdline from its own
 * tarball, what that depends on, and copies of `packages` of this folder, and of `shared` ones of
 * the repository.
 */
export function createApp(
  files: Readonly<Record<string, string>>,
  packages: readonly string[] = [],
  shared: readonly string[] = [],
) {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-app-'))
  const installed = join(folder, 'node_modules', 'holdline')
  mkdirSync(installed, { recursive: true })
  spawnSync('tar', ['xzf', pack(), '-C', installed, '--strip-components=1'])
  for (const name of ['xstate', 'eventsource', 'eventsource-parser', ...shared])
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true })
  for (const name of packages) cpSync(join(OWN, name), join(folder, 'node_modules', name), { recursive: true })
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

export type App = ReturnType<typeof createApp>

/**
 * The real server half on a free port: it answers each prompt with an event, and with a receipt.
 */
export async function startChat() {
  const chat = createChatServer({
    authenticate: () => ({ id: 'u' }),
    authorize: () => true,
    async onCommand({ sessionId = '', message, publish }) {
      await publish(sessionId, { type: 'echo', text: message.prompt })
      return { taken: true }
    },
  })
  const http = createAdaptorServer({ fetch: chat.fetch }) as Server
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return {
    origin: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    async close() {
      await chat.close()
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

type Variables = Readonly<Record<string, string | undefined>>

/** Runs a command in a folder to its end. */
export async function run(command: string, args: readonly string[], cwd: string, variables: Variables = {}) {
  const env = { ...process.env, CI: '1', NEXT_TELEMETRY_DISABLED: '1', ...variables }
  const child = spawn(command, args, { cwd, env })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  const [code] = await once(child, 'exit')
  return { code, output }
}

/** Runs a Node program that says where it serves, until it is stopped. */
export async function startApp(
  args: readonly string[],
  cwd: string,
  node = process.execPath,
  variables: Variables = {},
) {
  const child = spawn(node, args, { cwd, env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1', ...variables } })
  const exited = once(child, 'exit')
  let output = ''
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
        const [found] = /http:\/\/127\.0\.0\.1:[1-9]\d*/.exec(output) ?? []
        if (found && /ready/i.test(output)) resolve(found)
      })
    exited.then(() => reject(new Error(`it has ended: ${output}`)))
  })
  return {
    url,
    output: () => output,
    async stop(signal: NodeJS.Signals = 'SIGTERM') {
      child.kill(signal)
      await exited
    },
  }
}
