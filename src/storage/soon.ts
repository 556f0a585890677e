/**
 * A value that one storage gives at once and another one later. Where it is there at once, the next
 * step is done at once.
 */
export type Soon<T> = T | Promise<T>

// Not `instanceof`: React Native puts a Promise of its own in the place of the engine's.
export const isLater = <T>(value: Soon<T>): value is Promise<T> => typeof Object(value).then === 'function'

export const soon = <T, R>(value: Soon<T>, next: (value: T) => Soon<R>): Soon<R> =>
  isLater(value) ? value.then(next) : next(value)

export const all = <T>(values: readonly Soon<T>[]): Soon<readonly T[]> =>
  values.some(isLater) ? Promise.all(values) : (values as readonly T[])
