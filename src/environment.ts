// The shapes of the environment, as far as it is used. They import nothing, so that everything may
// import them.

/** Time, injected. The default is `Date.now`, `performance.now` and the global timers. */
export interface Clock {
  /** Wall-clock time, ms since the epoch. */
  now(): number
  /**
   * ms since any moment, by a clock that cannot be set. `maxAge` goes on by it where `now` is set
   * back. Default: `now` alone.
   */
  elapsed?(): number
  setTimeout(callback: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

/** What is used of a `Storage`, e.g. `localStorage`. */
export interface StorageLike {
  readonly length: number
  key(index: number): string | null
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** What is used of a storage that answers later, e.g. React Native's `AsyncStorage`. */
export interface AsyncStorageLike {
  getAllKeys(): Promise<readonly string[]>
  getItem(key: string): Promise<string | null>
  setItem(key: string, value: string): Promise<unknown>
  removeItem(key: string): Promise<unknown>
}

/** What is used of a `LockManager`. */
export interface LocksLike {
  request(
    name: string,
    options: { readonly ifAvailable: boolean },
    callback: (lock: unknown) => Promise<void>,
  ): Promise<unknown>
}
