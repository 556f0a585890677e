import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, vi } from 'vitest'
import type { ChatServer } from '../../server'
import { Budgets } from '../../server/limits/budget'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

/**
 * One listens to `room`, and reads nothing: of 20 MB that are published nothing is kept, and
 * nothing is read from the log.
 */
export async function staysFlat(chat: ChatServer, calls: readonly unknown[]) {
  const publishMany = async () => {
    for (let n = 1; n <= 5_000; n++) {
      await chat.publish('room', { type: 'x', text: 'y'.repeat(4_000) })
      if (n % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  // More than all socket buffers.
  await publishMany()
  const [before, reads] = [bytesInUse(), calls.length]
  await publishMany()
  expect(bytesInUse() - before).toBeLessThan(4_000_000)
  expect(calls.length).toBe(reads)
}

/** Bytes in use after a collection. */
export function bytesInUse() {
  collectGarbage()
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** The budgets of the server that `create` makes. */
export function withBudgets<T>(create: () => T): { readonly server: T; readonly budgets: Budgets } {
  const of = vi.spyOn(Budgets.prototype, 'of')
  const server = create()
  const [budgets] = of.mock.contexts as Budgets[]
  of.mockRestore()
  if (!budgets) throw new Error('the server has no budgets')
  return { server, budgets }
}

/** JSON of about so many bytes: in memory it is twenty times as large. */
export const swelling = (bytes: number) => `[${'{},'.repeat(Math.floor(bytes / 3) - 1)}{}]`
