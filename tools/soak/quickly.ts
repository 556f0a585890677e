import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** No machine code, which comes and goes by hundreds of kilobytes: those of `npm run soak`. */
const FLAGS = ['--expose-gc', '--no-opt', '--no-sparkplug', '--no-flush-bytecode', '--no-lazy-feedback-allocation']

const main = fileURLToPath(new URL('main.ts', import.meta.url))

/**
 * What a short soak prints. In a process of its own: in a test runner's the runner fills the heap.
 */
export async function soakQuickly(...only: readonly string[]): Promise<string> {
  const args = [...FLAGS, '--import', 'tsx', main, '--quick', '--only', only.join(',')]
  const { stdout } = await promisify(execFile)(process.execPath, args).catch((error) => error)
  return stdout
}
