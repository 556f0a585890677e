import type { AsyncStorageLike, LocksLike, StorageLike } from '../environment'

/** A storage; or null, as some platforms give it where there is none. */
export type MaybeStorage = StorageLike | AsyncStorageLike | null | undefined

export interface PersistOptions {
  /** All keys in the storage begin with it: use one per user. Default: `holdline:<url>`. */
  readonly key?: string | undefined
  /**
   * Keep the cursors too, so that a reload resumes where the last page ended. Only for an app that
   * keeps what it has applied as well: otherwise its page begins in the middle. Default: false.
   */
  readonly cursors?: boolean | undefined
  /** Tell which page is gone. Default: `navigator.locks`, where there are any. */
  readonly locks?: LocksLike | undefined
}
