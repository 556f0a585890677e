import { relative } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { here, type Measurement, type Result } from './_bench'

const ROOT = here('../..')
/** Loaded on demand, and by few: browsers have an EventSource. As in .size-limit.js. */
const ON_DEMAND = ['eventsource', '*/packageEventSource']
/** gzipped, bytes. */
const BARS = { own: 26_700, withXState: 38_800 }

interface Bundle {
  readonly bytes: number
  /** Bytes of the minified, not yet compressed, output. */
  readonly files: readonly (readonly [path: string, bytes: number])[]
}

async function bundleOf(contents: string, external: readonly string[]): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: ROOT, loader: 'ts' },
    outfile: 'bundle.js',
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    define: { 'process.env.NODE_ENV': '"production"' },
    external: [...external],
    metafile: true,
    write: false,
  })
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs))
  return {
    bytes: gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length,
    files: inputs.map(([path, { bytesInOutput }]) => [path, bytesInOutput] as const).sort(([, a], [, b]) => b - a),
  }
}

export const bundle: Measurement = {
  name: 'bundle',
  about: 'all that createConnection pulls in, minified, gzip -9',
  async run() {
    const entry = "export { createConnection } from './src/index'"
    const own = await bundleOf(entry, ['xstate', ...ON_DEMAND])
    const all = await bundleOf(entry, ON_DEMAND)
    const eventsource = await bundleOf("export { EventSource } from 'eventsource'", [])
    const xstate = all.files
      .filter(([path]) => path.includes('node_modules/xstate/'))
      .reduce((sum, [, n]) => sum + n, 0)
    console.log('\nminified, not compressed, bytes:')
    for (const [path, bytes] of own.files) console.log(`${String(bytes).padStart(8)}  ${relative('src', path)}`)
    console.log(`${String(xstate).padStart(8)}  xstate (what of it is used)`)
    const baseline = `${eventsource.bytes.toLocaleString('en')} package eventsource`
    const line = (name: string, { bytes }: Bundle, bar: number): Result => ({
      name: `bundle, ${name}, bytes`,
      ours: bytes.toLocaleString('en'),
      baseline,
      value: (bytes / eventsource.bytes).toFixed(2),
      bar: `ours ≤ ${bar.toLocaleString('en')}`,
      isMet: bytes <= bar,
    })
    return [line('own code', own, BARS.own), line('with XState', all, BARS.withXState)]
  },
}
