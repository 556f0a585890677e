import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

// Exact versions in package.json take the place of a lockfile: these packages bring binaries of the
// machine they are on.
const args = ['install', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error']
for (const folder of ['.', './rivals', './react18']) {
  const cwd = fileURLToPath(new URL(folder, import.meta.url))
  const { status } = spawnSync('npm', args, { cwd, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status === 0) continue
  console.error(`The packages of ${cwd} could not be installed: the tests that need them are skipped.`)
  if (process.env.CI) process.exit(1)
}
