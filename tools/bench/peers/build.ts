import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const src = (path: string) => here(`../../../src/${path}`)

const HOLDLINE = {
  holdline: src('index.ts'),
  'holdline/adapters': src('adapters/index.ts'),
  'holdline/adapters/websocket': src('adapters/websocket/index.ts'),
}

/**
 * Runs the work with the path of the client's program. holdline is bundled as for its package;
 * every library is loaded from `node_modules` as Node loads it, so the program has to stand in this
 * folder.
 */
export async function withProgram<T>(work: (program: string) => Promise<T>): Promise<T> {
  await mkdir(here('dist'), { recursive: true })
  const outdir = await mkdtemp(here('dist/run-'))
  try {
    await build({
      entryPoints: [here('program.ts')],
      outdir,
      outExtension: { '.js': '.mjs' },
      alias: HOLDLINE,
      packages: 'external',
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
    })
    return await work(`${outdir}/program.mjs`)
  } finally {
    await rm(outdir, { recursive: true, force: true })
  }
}

/**
 * Of what an app for browsers imports: minified and gzipped, bytes. `eventsource` is on demand
 * where another one uses it.
 */
export async function bundleSize(imports: string): Promise<number> {
  const isItself = imports.includes("'eventsource'")
  const { outputFiles } = await build({
    stdin: { contents: imports, resolveDir: here('.'), loader: 'ts' },
    outfile: 'bundle.js',
    alias: HOLDLINE,
    external: isItself ? [] : ['eventsource', 'ws'],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    define: { 'process.env.NODE_ENV': '"production"' },
    write: false,
  })
  return gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length
}
