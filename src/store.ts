import { ConnectionError } from './errors'
import type { Notifier } from './notifier'
import { type Cursor, isCursor, isObject, isSeq, isText, MESSAGE_ID, newId, parseJson } from './protocol'
import type { Clock, LocksLike, StorageLike, Typed } from './types'

/** A message without a verdict. */
export interface StoredMessage {
  readonly id: string
  readonly message: Typed
  /** Wall-clock time, ms. */
  readonly expiresAt: number
  readonly attempts: number
  readonly failures?: number
  readonly drops?: number
  readonly lane?: string | undefined
  /** When it was posted first, wall-clock ms. */
  readonly triedAt?: number | undefined
  /** Where it is stored. */
  readonly place?: string | undefined
}

/** What changes of a message while it is stored. */
export interface Storable {
  readonly expiresAt: number
  readonly failures: number
  readonly drops: number
  readonly lane: { readonly name: string }
  readonly triedAt: number | undefined
  attempts: number
  place?: string | undefined
  number?: number
}

export interface StoreOptions {
  readonly storage: StorageLike
  readonly key: string
  readonly locks: LocksLike | undefined
  readonly clock: Clock
}

/** The keys of the live connections of this page. */
const inUse = new WeakMap<StorageLike, Set<string>>()

/** What is set aside as corrupt may hold prompts: how many lines, of how many characters each, and for how long, ms. */
const MAX_LINES = 32
const MAX_LINE = 2_000
const ASIDE_FOR = 604_800_000

/** How long the answer to a lock request may hold up the line, ms. */
const LOCK_TIMEOUT = 2_000

export type Store = ReturnType<typeof createStore>

/**
 * What survives the page: an entry per unsettled message, `<key>:message:<owner>:<number>`, and one per cursor,
 * `<key>:cursor:<sessionId>`. Neither has a `:` behind its prefix but the one, so that no key, whatever is in it, runs into another.
 * A storage that fails harms nothing but that. The owner is one connection; as long as it
 * has something stored it holds a Web Lock of that name, so that no other page takes its messages for left behind.
 */
export function createStore({ storage, key, locks: given, clock }: StoreOptions, { report, warn }: Notifier) {
  /** None as well, once they have failed. */
  let locks = given
  const owner = newId()
  const messages = `${key}:message:`
  const cursors = `${key}:cursor:`
  const aside = `${key}.corrupt`
  /** What has its verdict, and is still there. */
  const undeletable = new Set<string>()
  let lastNumber = 0
  let hasFailed = false
  let hasAdopted = false
  /** The locks that are held end with this promise. */
  let busy: Promise<void> | null = null
  let release = () => {}
  let holdsOwn = false

  const keys = inUse.get(storage) ?? new Set()
  if (keys.has(key)) warn('two connections of this page use one storage key: dispose() one, or give each its own', key)
  inUse.set(storage, keys.add(key))

  // The app has had no chance to listen yet, when the first of it is read.
  const tell = (error: ConnectionError) => queueMicrotask(() => report(error))

  function attempt<T>(work: () => T): T | undefined {
    try {
      return work()
    } catch (cause) {
      if (!hasFailed) tell(new ConnectionError('storage-failed', `storage: ${String(cause)}`, { cause }))
      hasFailed = true
    }
    return undefined
  }

  const write = (place: string, json: string) =>
    attempt(() => {
      storage.setItem(place, json)
      return place
    })
  function remove(place: string | undefined) {
    if (place === undefined) return
    const isGone = attempt(() => {
      storage.removeItem(place)
      return true
    })
    if (!isGone) undeletable.add(place)
  }
  const placesOf = (prefix: string) =>
    attempt(() => {
      const { length } = storage
      if (!isSeq(length)) throw 'length is no number: not like localStorage'
      return Array.from({ length }, (_, index) => storage.key(index) ?? '').filter((place) => place.startsWith(prefix))
    }) ?? []
  // One with more behind it belongs to another key, which begins like ours.
  const messagePlaces = () => placesOf(messages).filter((place) => !/:.*:/s.test(place.slice(messages.length)))
  const cursorPlace = (sessionId: string) => cursors + sessionId.replace(/[%:]/g, encodeURIComponent)

  function read<T>(place: string, parse: (value: unknown) => T | undefined): T[] {
    const text = attempt(() => storage.getItem(place))
    if (!isText(text)) return []
    const value = parse(parseJson(text))
    if (value !== undefined) return [value]
    tell(new ConnectionError('storage-corrupt', `${place.slice(0, MAX_LINE)}: moved to ${aside}`))
    attempt(() => {
      setAside(JSON.stringify([clock.now(), place, text]).slice(0, MAX_LINE))
      storage.removeItem(place)
    })
    return []
  }

  /** Without what is too old or too much. */
  function setAside(...more: readonly string[]) {
    const before = storage.getItem(aside)?.split('\n') ?? []
    const isFresh = (line: string) => clock.now() - Number.parseFloat(line.slice(1)) < ASIDE_FOR
    const lines = [...before.filter(isFresh), ...more].slice(-MAX_LINES)
    if (lines.length) storage.setItem(aside, lines.join('\n'))
    else if (before.length) storage.removeItem(aside)
  }
  attempt(setAside)

  function readMessages(places: string[]): StoredMessage[] {
    places.sort((a, b) => numberOf(a) - numberOf(b))
    // What comes from now on stands behind them, wherever the clock was set meanwhile.
    for (const place of places) if (numberOf(place) <= MAX_TIME) lastNumber = Math.max(lastNumber, numberOf(place))
    return places.flatMap((place) => read(place, (value) => parseMessage(value, place)))
  }

  /** Tells whether the lock is ours now; it is then until `release`. Locks that fail are not asked again. */
  function hold(name: string, ifAvailable: boolean): Promise<boolean> {
    busy ??= new Promise((resolve) => {
      release = resolve
    })
    const held = busy
    return new Promise((resolve) => {
      let isDue = true
      const settle = (isOurs: boolean) => {
        const end = isOurs && isDue ? held : Promise.resolve()
        isDue = false
        clock.clearTimeout(timer)
        resolve(isOurs)
        return end
      }
      const fail = (cause: unknown) => {
        if (!isDue) return
        const why = `locks.request: ${cause}: other pages’ messages are left alone, and ours may be posted by them too`
        if (locks) tell(new ConnectionError('storage-failed', why, { cause }))
        locks = undefined
        settle(false)
      }
      const timer = clock.setTimeout(() => fail('no answer in 2 s'), LOCK_TIMEOUT)
      // The lock is not needed any more.
      void held.then(() => settle(false))
      const request = async () =>
        // [spec] Web Locks: a name must not begin with a dash.
        locks?.request(`lock:${messages}${name}`, { ifAvailable }, (lock) => settle(!!lock))
      request().then(() => fail('it did not call back'), fail)
    })
  }

  return {
    /**
     * Takes over the messages that connections which are gone have left, oldest first. Calls back at once where there is
     * nothing to ask. Without Web Locks nobody can tell who is gone: then it takes all, once.
     */
    adopt(take: (messages: readonly StoredMessage[]) => void) {
      const isLeft = (place: string) => ownerOf(place) !== owner && !undeletable.has(place)
      const places = locks || !hasAdopted ? messagePlaces().filter(isLeft) : []
      hasAdopted = true
      if (locks && places.length) {
        const owners = [...new Set(places.map(ownerOf))]
        void Promise.all(owners.map(async (other) => (await hold(other, true)) && other)).then((ours) =>
          // Only what was there before the locks were asked for: who lives may have stored more since.
          take(readMessages(places.filter((place) => ours.includes(ownerOf(place))))),
        )
      } else take(readMessages(places))
    },
    /** Also one that could not be stored at first keeps its number. */
    put(entry: Storable, id: string, json: string) {
      const { attempts, failures, drops, triedAt, expiresAt, lane } = entry
      if (!entry.number) {
        lastNumber = Math.floor(Math.max(lastNumber + 1, clock.now()))
        entry.number = lastNumber
      }
      const place = entry.place ?? `${messages}${owner}:${entry.number}`
      const fields = JSON.stringify({ id, attempts, failures, drops, triedAt, expiresAt, lane: lane.name })
      entry.place = write(place, `{"message":${json},${fields.slice(1)}`) ?? entry.place
      // What was released is not free at once.
      if (locks && !holdsOwn) void hold(owner, false)
      holdsOwn = true
    },
    remove,
    /** Nothing of ours is stored any more, or we are gone. */
    release() {
      release()
      busy = null
      holdsOwn = false
    },
    /** The connection is no more. */
    close() {
      keys.delete(key)
    },
    /** All messages under the key, whoever stored them, and what could not be read. */
    clear() {
      for (const place of messagePlaces()) remove(place)
      remove(aside)
    },
    cursors(): readonly Cursor[] {
      return placesOf(cursors).flatMap((place) => {
        const id = place.slice(cursors.length)
        // The first edition wrote an id as it is: then this may be the place of another key as well.
        const isOld = /[%:]/.test(id) && Object(parseJson(attempt(() => storage.getItem(place)) ?? '')).sessionId === id
        if (id.includes(':') && !isOld) return []
        const found = read(place, (value) =>
          isCursor(value) && (isOld || place === cursorPlace(value.sessionId)) ? value : undefined,
        )
        if (isOld && found[0] && write(cursorPlace(id), JSON.stringify(found[0]))) remove(place)
        return found
      })
    },
    putCursor(sessionId: string, cursor: Cursor | undefined) {
      const place = cursorPlace(sessionId)
      if (cursor) write(place, JSON.stringify(cursor))
      else remove(place)
    },
  }
}

const ownerOf = (place: string) => place.split(':').at(-2) ?? ''
/** [spec] ECMAScript: no clock goes beyond it, ms. Behind it there is room for counting on. */
const MAX_TIME = 8.64e15
/** To be sorted by; 0 if it is none. */
const numberOf = (place: string) => {
  const number = place.split(':').at(-1) ?? ''
  // The first edition wrote what the clock told, and one of an app's own may tell fractions.
  return /^[1-9]\d*(\.\d+)?$/.test(number) && Number(number) <= Number.MAX_SAFE_INTEGER ? Number(number) : 0
}

function parseMessage(value: unknown, place: string): StoredMessage | undefined {
  const { id, message, attempts, failures, drops, triedAt, expiresAt, lane } = Object(value)
  // JSON has no Infinity, but null.
  const end = expiresAt ?? Infinity
  const isMessage =
    isText(id) && MESSAGE_ID.test(id) && isObject(message) && isSeq(attempts) && typeof end === 'number' && end >= 0
  return isMessage && numberOf(place) > 0
    ? {
        id,
        message: message as Typed,
        attempts,
        failures: isSeq(failures) ? failures : 0,
        drops: isSeq(drops) ? drops : 0,
        // Older versions did not say. It was not posted before it was stored.
        triedAt: typeof triedAt === 'number' ? triedAt : attempts ? numberOf(place) : undefined,
        lane: isText(lane) ? lane : undefined,
        expiresAt: end,
        place,
      }
    : undefined
}
