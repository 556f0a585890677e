import { afterEach, beforeEach, vi } from 'vitest'

const FATAL = ['unhandledRejection', 'uncaughtException'] as const

/**
 * To be called where tests are described. Told of what would have ended the process, in place of
 * vitest.
 */
export function watchProcess() {
  const lost = vi.fn()
  let others: readonly NodeJS.UncaughtExceptionListener[][] = []
  beforeEach(() => {
    lost.mockClear()
    others = FATAL.map((name) => process.listeners(name as 'uncaughtException'))
    for (const name of FATAL) process.removeAllListeners(name).on(name, lost)
  })
  afterEach(() => {
    for (const [index, name] of FATAL.entries()) {
      process.removeAllListeners(name)
      for (const other of others[index] ?? []) process.on(name, other)
    }
  })
  return lost
}

/** Node tells of a rejection that nobody handles once it has nothing else to do. */
export const processSettles = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
