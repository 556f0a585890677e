/**
 * Validation of what the app hands in. Everything here throws a `TypeError` that names the option.
 */

/** [spec] setTimeout beyond 2^31-1 ms fires at once. */
export const MAX_TIMER = 1_900_000_000

export function checkNames(where: string, options: unknown, known: readonly string[]): asserts options is object {
  if (typeof options !== 'object' || options === null) throw new TypeError(`${where}: the options must be an object`)
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`${where}: unknown option '${name}'`)
  }
}

interface Range {
  readonly integer?: boolean
  /** Default: anything above 0. */
  readonly min?: number
  readonly max?: number
}

export function checkNumber(name: string, value: unknown, range: Range = {}) {
  const { integer = false, min, max = Number.MAX_SAFE_INTEGER } = range
  const isValid =
    typeof value === 'number' &&
    (min === undefined ? value > 0 : value >= min) &&
    value <= max &&
    (!integer || Number.isInteger(value))
  const least = min === undefined ? '> 0' : `≥ ${min}`
  if (!isValid) throw new TypeError(`'${name}' must be ${integer ? 'an integer' : 'a number'} ${least} and ≤ ${max}`)
}

export function checkFunction(name: string, value: unknown) {
  if (typeof value !== 'function') throw new TypeError(`'${name}' must be a function`)
}

export function checkMethods(name: string, value: unknown, methods: readonly string[]) {
  for (const method of methods) {
    const owner = value as Record<string, unknown> | null
    if (typeof owner?.[method] !== 'function') throw new TypeError(`'${name}' must have a function '${method}'`)
  }
}
