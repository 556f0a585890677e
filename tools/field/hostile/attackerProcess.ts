import { ATTACKS } from './attacks'
import { serveIpc } from './ipc'
import type { Findings, Target } from './types'
import { isBusy } from './wire'

export interface AttackerProcess {
  /** Resolves once the attack has ended, by itself or by `stop()`. */
  run(name: string, target: Target): Promise<Findings>
  /** It has not done yet what it wants to do. */
  isBusy(): boolean
  stop(): void
}

const abort = new AbortController()

serveIpc({
  async run(name, target) {
    const attack = ATTACKS.find((known) => known.name === name)
    if (!attack) throw new Error(`there is no attack '${name}'`)
    return attack.run(target, abort.signal)
  },
  isBusy,
  stop: () => abort.abort(),
} satisfies AttackerProcess)
// What is cut off in the middle is no fault of the attacker's.
process.on('uncaughtException', () => {})
