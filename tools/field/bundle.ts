import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build } from 'esbuild'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const shared = (entry: string): BuildOptions => ({
  entryPoints: [here(entry)],
  bundle: true,
  format: 'esm',
  target: 'es2022',
  tsconfig: here('../../tsconfig.json'),
  logLevel: 'warning',
})

/** A script for a page, as text. */
export async function bundleForPage(entry: string, more: BuildOptions = {}): Promise<string> {
  const { outputFiles } = await build({
    ...shared(entry),
    platform: 'browser',
    external: ['ws'],
    write: false,
    ...more,
  })
  return outputFiles?.[0]?.text ?? ''
}

/** A script for a run-time beside the browser, with everything in it. */
export async function bundleForRuntime(entry: string, more: BuildOptions = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-field-'))
  const path = join(folder, 'script.mjs')
  await build({
    ...shared(entry),
    platform: 'node',
    outfile: path,
    // Packages in CommonJS ask for `node:` modules in their own way.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    ...more,
  })
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
