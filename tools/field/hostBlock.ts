import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { freePort } from '../shared/freePort'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What docs/hosts.md takes for granted. */
const PRELUDE = `
const userOf = (request) => ({ id: request.headers.get('authorization') ?? 'me' })
const mayUse = () => true
const agent = { start: (sessionId, message) => chat.publish(sessionId, { ...message, type: 'reply' }) }
`

async function blockUnder(heading: string): Promise<string> {
  const document = await readFile(join(root, 'docs/hosts.md'), 'utf8')
  const [, section = ''] = document.split(`\n${heading}\n`)
  const [, code] = /```js\n([\s\S]*?)```/.exec(section) ?? []
  if (!code) throw new Error(`docs/hosts.md has no block under ${heading}`)
  return code
}

export interface Running {
  readonly url: string
  readonly process: ChildProcess
  /** What it has printed. */
  output(): string
  end(): Promise<void>
}

/** Runs the block of docs/hosts.md under a heading, with the server half of this tree. */
export async function runBlock(heading: string, command: string, args: readonly string[]): Promise<Running> {
  const folder = await mkdtemp(join(tmpdir(), 'holdline-host-'))
  const port = await freePort()
  await build({
    entryPoints: [join(root, 'src/server/index.ts')],
    outfile: join(folder, 'server.js'),
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    logLevel: 'error',
  })
  const code = (await blockUnder(heading))
    .replaceAll('3000', String(port))
    .replace("'holdline/server'", "'./server.js'")
  await writeFile(join(folder, 'main.js'), code + PRELUDE)
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  const process = spawn(command, [...args, join(folder, 'main.js')], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [process.stdout, process.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const origin = `http://127.0.0.1:${port}`
  const running = {
    url: `${origin}/api/chat`,
    process,
    output: () => output,
    async end() {
      if (process.exitCode === null) {
        process.kill()
        await once(process, 'exit')
      }
      await rm(folder, { recursive: true, force: true })
    },
  }
  for (let tries = 0; tries < 600; tries += 1) {
    if (process.exitCode !== null) break
    const response = await fetch(`${origin}/up`).catch(() => undefined)
    if (response) return running
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await running.end()
  throw new Error(`${heading} did not start: ${output}`)
}
