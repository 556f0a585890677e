import { cp, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COPIED = [
  'src',
  'docs',
  'tools',
  'demo',
  'examples',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
  'vitest.field.config.ts',
  'README.md',
]

/** A copy of the project to be broken; it shares the dependencies. */
export async function copyProject(): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'holdline-proof-'))
  for (const name of COPIED) {
    await cp(join(ROOT, name), join(path, name), {
      recursive: true,
      filter: (path) => !path.endsWith('node_modules'),
    }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
  }
  await symlink(join(ROOT, 'node_modules'), join(path, 'node_modules'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}
