import type { Harness, Observer } from '../harness/harness'
import type { Oracle, OracleOptions } from './oracle'

/**
 * Watches over one invariant. All that it knows comes from the fakes, the clock and the public
 * interface.
 */
export type Watch = (
  harness: Harness,
  report: (message: string) => void,
  options: Required<OracleOptions>,
) => Observer & Pick<Partial<Oracle>, 'memory'>

/** Calls `hook` before each call of these methods. */
export function before<Target extends object>(
  target: Target,
  names: readonly (keyof Target)[],
  hook: (...args: never[]) => unknown,
) {
  for (const name of names) {
    const own = target[name] as (...args: unknown[]) => unknown
    const hooked = (...args: unknown[]) => {
      hook(...(args as never[]))
      return own.apply(target, args)
    }
    Object.assign(target, { [name]: hooked })
  }
}
