import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const cwd = fileURLToPath(new URL('.', import.meta.url))
const args = ['ci', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
const { status } = spawnSync('npm', args, { cwd, stdio: 'inherit', shell: process.platform === 'win32' })
if (status !== 0) {
  console.error('The packages of tools/bench/peers could not be installed: there is nothing to compare holdline with.')
  process.exit(1)
}
