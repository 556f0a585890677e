import { fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url))

export type Programs = Awaited<ReturnType<typeof createPrograms>>

/**
 * The programs of the other processes, bundled: a node that was killed must be back in a moment.
 */
export async function createPrograms() {
  const folder = await mkdtemp(join(tmpdir(), 'holdline-cluster-'))
  await build({
    entryPoints: [pathOf('nodeProcess.ts'), pathOf('clientsProcess.ts')],
    tsconfig: pathOf('../../tsconfig.json'),
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'error',
  })
  return {
    start: (name: 'nodeProcess' | 'clientsProcess', options: object) =>
      fork(join(folder, `${name}.cjs`), [JSON.stringify(options)], { execArgv: [] }),
    remove: () => rm(folder, { recursive: true }),
  }
}
