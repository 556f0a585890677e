/** The part of a `Storage`, e.g. `localStorage`, that is used. */
export interface StorageLike {
  readonly length: number
  key(index: number): string | null
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** The part of a storage that answers later, e.g. React Native's `AsyncStorage`, that is used. */
export interface AsyncStorageLike {
  getAllKeys(): Promise<readonly string[]>
  getItem(key: string): Promise<string | null>
  setItem(key: string, value: string): Promise<unknown>
  removeItem(key: string): Promise<unknown>
}

/** The part of a `LockManager` that is used. */
export interface LocksLike {
  request(
    name: string,
    options: { readonly ifAvailable: boolean },
    callback: (lock: unknown) => Promise<void>,
  ): Promise<unknown>
}

/** A storage; or null, as some platforms give it where there is none. */
export type MaybeStorage = StorageLike | AsyncStorageLike | null | undefined

export interface PersistOptions {
  /** All keys in the storage begin with it: use one per user. Default: `holdline:<url>`. */
  readonly key?: string | undefined
  /**
   * Keep the cursors too, so that a reload resumes where the last page ended. Only for an app that keeps what it has applied as
   * well: otherwise its page begins in the middle. Default: false.
   */
  readonly cursors?: boolean | undefined
  /** Tell which page is gone. Default: `navigator.locks`, where there are any. */
  readonly locks?: LocksLike | undefined
}
