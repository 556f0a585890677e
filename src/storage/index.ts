export type { Persistence } from '../connection/store'
export type { AsyncStorageLike, LocksLike, StorageLike } from '../environment'
export { persist } from './persist'
export type * from './types'
