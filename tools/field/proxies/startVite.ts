import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../shared/freePort'
import { findTool } from '../tools'
import { snippet } from './snippet'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))
/** Where a configuration finds the `vite` of this folder, and Git looks at nothing. */
const PLACE = at('../node_modules')

/**
 * Vite's development server with the configuration of docs/proxies.md, or another one, before
 * `upstream`; its page is in `page/`.
 */
export async function startVite(upstream: number, text = snippet('vite')) {
  await mkdir(PLACE, { recursive: true })
  const folder = await mkdtemp(join(PLACE, 'holdline-vite-'))
  const port = await freePort()
  const own = {
    root: at('./page'),
    cacheDir: join(folder, 'cache'),
    resolve: { alias: { holdline: at('../../../src/index.ts') } },
    server: { port, strictPort: true, host: 'localhost', fs: { strict: false } },
  }
  await writeFile(join(folder, 'documented.ts'), text.replace('localhost:3000', `localhost:${upstream}`))
  await writeFile(
    join(folder, 'vite.config.ts'),
    `import { mergeConfig } from 'vite'
import documented from './documented.ts'
export default mergeConfig(documented, ${JSON.stringify(own)})
`,
  )
  const { NODE_ENV: _, VITEST: __, ...env } = process.env
  const args = ['--config', join(folder, 'vite.config.ts'), '--clearScreen', 'false']
  const vite = spawn(findTool('vite') ?? 'vite', args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = () => vite.kill('SIGKILL')
  process.once('exit', kill)
  const exit = once(vite, 'exit').finally(() => process.off('exit', kill))
  const origin = `http://localhost:${port}`
  let said = ''
  for (const output of [vite.stdout, vite.stderr]) output.on('data', (bytes) => (said += bytes))
  while (!(await fetch(origin).catch(() => undefined))) {
    if (vite.exitCode !== null) throw new Error(`vite does not start:\n${said}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    origin,
    said: () => said,
    async stop() {
      kill()
      await exit
      await rm(folder, { recursive: true, force: true })
    },
  }
}
