import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { vi } from 'vitest'
import { Budgets } from '../../server/limits/budget'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

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
