import type { ConnectionOptions } from 'holdline'
import { persist } from 'holdline/storage'
import { createWorld, type ServerBehaviour } from './fakes'

export type FakeStorage = ReturnType<typeof createStorage>

/** A Storage that counts, and that can be full or throw. A page that is reloaded finds it as it was. */
export function createStorage() {
  const entries = new Map<string, string>()
  const operations: string[] = []
  const trouble = { quota: Number.POSITIVE_INFINITY, at: (_operation: number): boolean => false }
  const operate = (name: string) => {
    operations.push(name)
    if (trouble.at(operations.length)) throw new Error(`${name} is broken`)
  }
  return {
    entries,
    /** All that was asked of it, in order. */
    operations,
    get length() {
      operate('length')
      return entries.size
    },
    key(index: number) {
      operate('key')
      return [...entries.keys()][index] ?? null
    },
    getItem(key: string) {
      operate('getItem')
      return entries.get(key) ?? null
    },
    setItem(key: string, value: string) {
      operate('setItem')
      if (trouble.quota < Number.POSITIVE_INFINITY) {
        const others = [...entries].filter(([other]) => other !== key)
        if ([...others, [key, value]].flat().join('').length > trouble.quota) throw new Error('full')
      }
      entries.set(key, value)
    },
    removeItem(key: string) {
      operate('removeItem')
      entries.delete(key)
    },
    /** Throws where `at` says so of the operation's number, which begins with 1. */
    throws(at: (operation: number) => boolean) {
      trouble.at = at
    },
    /** From now on, in characters. */
    holds(quota: number) {
      trouble.quota = quota
    },
    /** What is stored under keys that contain this, by key. */
    stored: (part: string) => [...entries].filter(([key]) => key.includes(part)).map(([, value]) => JSON.parse(value)),
  }
}

/** Who decides sits in another process: nothing is known in the same turn, and all is decided in the order of the asking. */
async function elsewhere() {
  for (let turn = 0; turn < 3; turn++) await null
}

export type FakeAsyncStorage = ReturnType<typeof createAsyncStorage>

/** One call of a storage that answers later. What it does, it does when it is answered. */
export interface StorageCall {
  readonly name: 'getAllKeys' | 'getItem' | 'setItem' | 'removeItem'
  readonly key: string
  readonly value: string
  answer(): void
  fail(): void
}

/** Like React Native's AsyncStorage. A call is answered a little later, unless `rule` says something else: then the test does, or nobody. */
export function createAsyncStorage(entries = new Map<string, string>()) {
  const calls: StorageCall[] = []
  let rule: (call: StorageCall) => 'answers' | 'fails' | 'waits' = () => 'answers'
  const call = <T>(name: StorageCall['name'], key: string, value: string, work: () => T) =>
    new Promise<T>((resolve, reject) => {
      const own: StorageCall = {
        name,
        key,
        value,
        answer: () => resolve(work()),
        fail: () => reject(new Error(`${name} is broken`)),
      }
      calls.push(own)
      const fate = rule(own)
      if (fate !== 'waits') void elsewhere().then(fate === 'answers' ? own.answer : own.fail)
    })
  return {
    entries,
    /** All that was asked of it, in order. */
    calls,
    rule(next: typeof rule) {
      rule = next
    },
    /** What it does with these from now on. */
    when(name: StorageCall['name'], fate: ReturnType<typeof rule>) {
      rule = (call) => (call.name === name ? fate : 'answers')
    },
    callsOf: (name: StorageCall['name'], key = '') =>
      calls.filter((call) => call.name === name && call.key.includes(key)),
    getAllKeys: () => call('getAllKeys', '', '', () => [...entries.keys()]),
    getItem: (key: string) => call('getItem', key, '', () => entries.get(key) ?? null),
    setItem: (key: string, value: string) => call('setItem', key, value, () => void entries.set(key, value)),
    removeItem: (key: string) => call('removeItem', key, '', () => void entries.delete(key)),
    stored: (part: string) => [...entries].filter(([key]) => key.includes(part)).map(([, value]) => JSON.parse(value)),
  }
}

export type FakePage = ReturnType<ReturnType<typeof createLocks>['page']>

/** The Web Locks of one origin: each page has a LockManager of its own, and loses what it holds when it goes. */
export function createLocks() {
  const holders = new Map<string, object>()
  const waiting: { readonly name: string; readonly grant: () => void }[] = []

  function release(name: string, page: object) {
    if (holders.get(name) !== page) return
    holders.delete(name)
    const next = waiting.findIndex((request) => request.name === name)
    if (next >= 0) waiting.splice(next, 1)[0]?.grant()
  }

  return {
    /** The names of all locks that are held. */
    held: () => [...holders.keys()],
    page() {
      const self = {}
      let isGone = false
      let answer = async () => {}
      return {
        async request(name: string, { ifAvailable }: { ifAvailable?: boolean }, callback: (lock: unknown) => unknown) {
          await elsewhere()
          await answer()
          if (isGone) return
          if (holders.has(name)) {
            if (ifAvailable) return callback(null)
            await new Promise<void>((grant) => waiting.push({ name, grant }))
          }
          holders.set(name, self)
          if (isGone) return release(name, self)
          await callback({ name, mode: 'exclusive' })
          await elsewhere()
          release(name, self)
        },
        held: () => [...holders].filter(([, page]) => page === self).map(([name]) => name),
        /** Crashed, closed or reloaded. */
        goes() {
          isGone = true
          for (const [name, page] of [...holders]) if (page === self) release(name, self)
        },
        /** Its requests are decided when the returned function is called. */
        answersLate() {
          let decide = () => {}
          const decided = new Promise<void>((resolve) => {
            decide = resolve
          })
          answer = () => decided
          return decide
        },
      }
    },
  }
}

/** A connection of a page that has just been loaded; the one before is dropped as it is. */
export const load = (
  storage: FakeStorage | FakeAsyncStorage,
  { locks, ...options }: Partial<ConnectionOptions> & { readonly locks?: FakePage } = {},
  behaviour?: ServerBehaviour,
) =>
  // Each page has a Storage object of its own, for what all of them share.
  createWorld({ storage: persist(Object.create(storage), { key: 'k', cursors: true, locks }), ...options }, behaviour)
