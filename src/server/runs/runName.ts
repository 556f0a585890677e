import { digest } from '../digest'
import type { RunCall } from './api'

const RUN_NAME = /^[A-Za-z0-9_-]{1,128}$/
export const RUN_NAME_RULE = `must match ${RUN_NAME.source}`
export const isRunName = (value: unknown): value is string => typeof value === 'string' && RUN_NAME.test(value)

/** Names what commands begin, so that a command that is repeated after a crash names the same. */
export class RunNames {
  /** How many were named in a command. */
  readonly #counts = new WeakMap<RunCall, number>()

  /** Counts before it waits for anything. Random for a command without a key. */
  async next(call: RunCall): Promise<string> {
    const ordinal = (this.#counts.get(call) ?? 0) + 1
    this.#counts.set(call, ordinal)
    const { principal, idempotencyKey } = call
    if (idempotencyKey === undefined) return crypto.randomUUID()
    const hash = await digest(JSON.stringify(['run', principal.id, idempotencyKey, ordinal]))
    return hash.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
  }
}
