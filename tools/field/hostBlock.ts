import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { freePort } from '../shared/freePort'

const root = fileURLToPath(new URL('../../', import.meta.url))
/** Where a block finds the packages of this folder, and Git looks at nothing. */
const PACKAGES = fileURLToPath(new URL('./node_modules', import.meta.url))

/** What docs/hosts.md takes for granted. */
const PRELUDE = `
const userOf = (request) => ({ id: request.headers.get('authorization') ?? 'me' })
const mayUse = () => true
const agent = { start: (...all) => (all.length > 2 ? all.shift() : chat).publish(all[0], { ...all[1], type: 'reply' }) }
`

export interface Block {
  /** Of docs/hosts.md. */
  readonly heading: string
  /** What runs it, and the arguments before its file. */
  readonly command: string
  readonly args?: readonly string[]
  /** Does it need packages of this folder? */
  readonly hasPackages?: boolean
  /** Changes it. */
  readonly edit?: (code: string) => string
  /** Written beside it; the file to run is the one of this name. Default: the block itself. */
  readonly config?: { readonly name: string; text(port: number): string }
}

async function codeOf({ heading, edit }: Block): Promise<string> {
  const document = await readFile(join(root, 'docs/hosts.md'), 'utf8')
  const [, section = ''] = document.split(`\n${heading}\n`)
  const [own = ''] = section.split(/\n##/)
  const [, code] = /```js\n([\s\S]*?)```/.exec(own) ?? []
  if (!code) throw new Error(`docs/hosts.md has no block under ${heading}`)
  if (!edit) return code
  const edited = edit(code)
  if (edited === code) throw new Error(`the block under ${heading} has nothing of what is to be changed`)
  return edited
}

export interface Running {
  readonly url: string
  readonly process: ChildProcess
  /** What it has printed. */
  output(): string
  end(): Promise<void>
}

/** The server half of this tree, and the block, in a folder. */
async function write(block: Block, port: number): Promise<{ readonly folder: string; readonly file: string }> {
  const place = block.hasPackages ? PACKAGES : tmpdir()
  await mkdir(place, { recursive: true })
  const folder = await mkdtemp(join(place, 'holdline-host-'))
  await build({
    entryPoints: { server: join(root, 'src/server/index.ts'), node: join(root, 'src/server/node/index.ts') },
    outdir: folder,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    external: ['node:*'],
    logLevel: 'error',
  })
  const code = (await codeOf(block))
    .replaceAll('3000', String(port))
    .replace("'holdline/server'", "'./server.js'")
    .replace("'holdline/server/node'", "'./node.js'")
  await writeFile(join(folder, 'main.js'), code + PRELUDE)
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  const { name, text } = block.config ?? { name: 'main.js' }
  if (text) await writeFile(join(folder, name), text(port))
  return { folder, file: join(folder, name) }
}

/** Runs a block of docs/hosts.md, with the server half of this tree. */
export async function runBlock(block: Block): Promise<Running> {
  const port = await freePort()
  const { folder, file } = await write(block, port)
  const { NODE_ENV: _, VITEST: __, ...env } = process.env
  const child = spawn(block.command, [...(block.args ?? []), file], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const origin = `http://127.0.0.1:${port}`
  const running = {
    url: `${origin}/api/chat`,
    process: child,
    output: () => output,
    async end() {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit')
        child.kill('SIGKILL')
        await exited
      }
      await rm(folder, { recursive: true, force: true })
    },
  }
  for (let tries = 0; tries < 600; tries += 1) {
    if (child.exitCode !== null) break
    const response = await fetch(`${origin}/api/chat/up`).catch(() => undefined)
    if (response) return running
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await running.end()
  throw new Error(`${block.heading} did not start: ${output}`)
}
