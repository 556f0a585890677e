import { being, check, has, isBoolean, isName, read } from '../connection/checks'
import type { Persistence, Store, StoreSetup } from '../connection/store'
import type { AsyncStorageLike, StorageLike } from '../environment'
import { ConnectionError } from '../errors'
import { AsyncMedium } from './asyncMedium'
import { CorruptEntries } from './corruptEntries'
import { messagePrefix } from './entries'
import { type Medium, SyncMedium } from './medium'
import { MessageStore } from './messageStore'
import { OwnerLocks } from './ownerLocks'
import { Reads } from './reads'
import { StoredCursors } from './storedCursors'
import type { MaybeStorage, PersistOptions } from './types'

const isSync = has('getItem, setItem, removeItem, key')
const isAsync = has('getItem, setItem, removeItem, getAllKeys')
const isStorage = being('a storage like localStorage, or like AsyncStorage, or null', (value) => {
  try {
    return value === null || value === undefined || isAsync(value) || isSync(value)
  } catch {
    // One that cannot even be looked at is used like any other that fails: reported, once.
    return true
  }
})

/** The keys of the live connections of this page. */
const inUse = new WeakMap<object, Set<string>>()

/**
 * Keeps the messages without a verdict, and the cursors if you ask for it, over a reload or a
 * crash: `createConnection({ url, storage: persist(localStorage) })`. The storage may answer at
 * once (`localStorage`) or later (`AsyncStorage`), and may be null. Where it throws when it is
 * touched (a sandboxed frame), or is not there (a module that a server renders too), give a
 * function: `persist(() => globalThis.localStorage)`; it is called by `createConnection`.
 * docs/delivery.md says what is kept, and when.
 *
 * @throws {ConnectionError} `invalid-option`, for a storage or an option that is none; the message
 * names it. For what a function returns, `createConnection` throws it.
 */
export function persist(storage: MaybeStorage | (() => MaybeStorage), options: PersistOptions = {}): Persistence {
  const table = { key: [isName], cursors: [isBoolean, false], locks: [has('request')] } as const
  const settings = read(table, options, 'persist') as PersistOptions
  if (typeof storage !== 'function') check('storage', storage, isStorage)
  return {
    open(setup: StoreSetup): Store | null {
      const found = typeof storage === 'function' ? ask(storage, setup) : storage
      check('storage', found, isStorage)
      return found ? open(found, settings, setup) : null
    },
  }
}

function ask(storage: () => MaybeStorage, { report }: StoreSetup): MaybeStorage {
  try {
    return storage()
  } catch (cause) {
    const why = `there is no storage, so nothing survives a reload: ${cause}`
    queueMicrotask(() => report(new ConnectionError('storage-failed', why, { cause })))
    return null
  }
}

function open(storage: StorageLike | AsyncStorageLike, options: PersistOptions, setup: StoreSetup): Store {
  const { url, clock, report, warn } = setup
  const { key = `holdline:${url}`, locks: manager = globalThis.navigator?.locks } = options
  const keys = inUse.get(storage) ?? new Set()
  if (keys.has(key)) warn('two connections of this page use one storage key: dispose() one, or give each its own', key)
  inUse.set(storage, keys.add(key))

  const told = new Set<string>()
  let life: 'live' | 'closed' = 'live'
  const tell = (error: ConnectionError) => {
    // The app has had no chance to listen yet, when the first of it is read.
    if (life === 'live') queueMicrotask(() => report(error))
  }
  const failOnce = (what: string, why: string, cause?: unknown) => {
    if (!told.has(what)) tell(new ConnectionError('storage-failed', why, { cause }))
    told.add(what)
  }
  const fail = (cause: unknown) => failOnce('failed', `storage: ${cause}`, cause)
  const late = () => failOnce('late', 'no answer in 2 s: the line goes on, and what is queued may not survive a reload')

  const reads = new Reads(clock, late)
  const medium = mediumFor(storage, { clock, fail, late })
  const corrupt = new CorruptEntries({ medium, clock, key, tell })
  const locks = new OwnerLocks({
    manager,
    prefix: `lock:${messagePrefix(key)}`,
    clock,
    fail(why, cause) {
      const but = 'other pages’ messages are left alone, and ours may be posted by them too'
      tell(new ConnectionError('storage-failed', `locks.request: ${why}: ${but}`, { cause }))
    },
  })
  const cursors = options.cursors ? new StoredCursors({ key, medium, reads, corrupt }) : null
  const closed = () => {
    life = 'closed'
    keys.delete(key)
  }
  return new MessageStore({ key, clock, medium, reads, corrupt, locks, cursors, closed })
}

function mediumFor(
  storage: StorageLike | AsyncStorageLike,
  { clock, fail, late }: Omit<ConstructorParameters<typeof AsyncMedium>[0], 'storage'>,
): Medium {
  try {
    if (isAsync(storage)) return new AsyncMedium({ storage: storage as AsyncStorageLike, clock, fail, late })
  } catch {}
  return new SyncMedium(storage as StorageLike, fail)
}
