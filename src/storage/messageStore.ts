import type { Carrier } from '../adapters/transport'
import type { CursorStore, Storable, Store, StoredMessage } from '../connection/store'
import type { Clock } from '../environment'
import { isText, newId, parseJson } from '../protocol'
import type { CorruptEntries, CorruptEntry } from './corruptEntries'
import { messagePlaces, messagePrefix, messageText, numberOf, ownerOf, parseMessage } from './entries'
import type { Medium } from './medium'
import type { OwnerLocks } from './ownerLocks'
import type { Reads } from './reads'
import { all, type Soon, soon } from './soon'

export interface MessageStoreParts {
  readonly key: string
  readonly clock: Clock
  readonly medium: Medium
  readonly reads: Reads
  readonly corrupt: CorruptEntries
  readonly locks: OwnerLocks
  readonly cursors: CursorStore | null
  /** The connection is no more. */
  closed(): void
}

/**
 * An entry per unsettled message. Its owner is one connection. A storage that fails harms nothing
 * but that.
 */
export class MessageStore implements Store {
  readonly cursors: CursorStore | null
  readonly #parts: MessageStoreParts
  readonly #owner = newId()
  /** Where messages of ours are stored, or may be. */
  readonly #places = new Set<string>()
  /** Places of messages that have their verdict and could not be deleted. */
  readonly #undeletable = new Set<string>()
  #lastNumber = 0
  #stage: 'new' | 'adopted' | 'closed' = 'new'
  /** How many adoptions and clears are under way. */
  #errands = 0
  /**
   * An adoption that began in an earlier age takes nothing: the app has cleared the outbox since,
   * or disposed of it.
   */
  #age = 0

  constructor(parts: MessageStoreParts) {
    this.#parts = parts
    this.cursors = parts.cursors
  }

  afterRead(carrier: Carrier): Carrier {
    return this.#parts.reads.gate(carrier)
  }

  // Taking over

  adopt(take: (messages: readonly StoredMessage[]) => void) {
    const { locks, reads } = this.#parts
    // Without locks nobody can tell who is gone: then it takes all, once.
    if (this.#stage !== 'new' && !locks.canTell) return take([])
    this.#stage = 'adopted'
    this.#errands++
    const end = reads.begin()
    const goOn = () => {
      end()
      take([])
    }
    soon(locks.canTell ? this.#readLeft(end, goOn) : reads.within(this.#readAll(), goOn), (messages) => {
      this.#errands--
      for (const { place } of messages) this.#places.add(place as string)
      take(messages)
      end()
      this.#letGo()
    })
  }

  #readAll(): Soon<readonly StoredMessage[]> {
    const age = this.#age
    return soon(this.#left(), (places) => this.#read(places, age))
  }

  /** The keys are read before the locks are asked for: a live page may store more meanwhile. */
  #readLeft(end: () => void, goOn: () => void): Soon<readonly StoredMessage[]> {
    const { reads } = this.#parts
    const age = this.#age
    return soon(reads.within(this.#left(), goOn), (places) => {
      // No stream waits for a lock.
      end()
      return soon(this.#withoutOwner(places), (free) => reads.within(this.#read(free, age), goOn))
    })
  }

  #left(): Soon<readonly string[]> {
    const { key, medium } = this.#parts
    const isLeft = (place: string) => ownerOf(place) !== this.#owner && !this.#undeletable.has(place)
    return soon(medium.keys(), (keys) => messagePlaces(key, keys).filter(isLeft))
  }

  #withoutOwner(places: readonly string[]): Soon<readonly string[]> {
    const owners = [...new Set(places.map(ownerOf))]
    return soon(all(owners.map((owner) => this.#parts.locks.take(owner))), (areGone) =>
      places.filter((place) => areGone[owners.indexOf(ownerOf(place))]),
    )
  }

  #read(places: readonly string[], age: number): Soon<readonly StoredMessage[]> {
    const { medium } = this.#parts
    const inOrder = [...places].sort((a, b) => numberOf(a) - numberOf(b))
    // New messages stand behind them, wherever the clock was set meanwhile.
    for (const place of inOrder)
      if (numberOf(place) <= MAX_TIME) this.#lastNumber = Math.max(this.#lastNumber, numberOf(place))
    return soon(all(inOrder.map((place) => medium.get(place))), (texts) =>
      age === this.#age ? this.#parse(inOrder, texts) : [],
    )
  }

  #parse(places: readonly string[], texts: readonly (string | null | undefined)[]): readonly StoredMessage[] {
    const { medium, corrupt } = this.#parts
    const bad: CorruptEntry[] = []
    const messages = places.flatMap((place, index) => {
      const text = texts[index]
      if (!isText(text)) return []
      const message = parseMessage(parseJson(text), place, medium.answers === 'later')
      if (!message) bad.push([place, text])
      return message ?? []
    })
    corrupt.setAside(bad)
    return messages
  }

  // One message

  /** Also one that could not be stored at first keeps its number. */
  put(message: Storable) {
    const { clock, key, medium, locks } = this.#parts
    if (!message.number) {
      this.#lastNumber = Math.floor(Math.max(this.#lastNumber + 1, clock.now()))
      message.number = this.#lastNumber
    }
    const place = message.place ?? `${messagePrefix(key)}${this.#owner}:${message.number}`
    // Whether a later answer is a failure makes no difference: it may be stored.
    if (medium.set(place, messageText(message), message.place === undefined) === false) return
    message.place = place
    this.#places.add(place)
    locks.hold(this.#owner)
  }

  remove(place: string | undefined) {
    if (place === undefined) return
    this.#delete(place)
    this.#places.delete(place)
    this.#letGo()
  }

  #delete(place: string) {
    soon(this.#parts.medium.remove(place), (isGone) => {
      if (!isGone) this.#undeletable.add(place)
    })
  }

  clear() {
    const { key, medium, corrupt, reads } = this.#parts
    this.#age++
    this.#errands++
    const last = this.#lastNumber
    corrupt.clear()
    soon(
      reads.within(medium.keys(), () => {}),
      (keys) => {
        // Not what was sent after the clear.
        const isMeant = (place: string) => ownerOf(place) !== this.#owner || numberOf(place) <= last
        for (const place of messagePlaces(key, keys)) if (isMeant(place)) this.#delete(place)
        this.#errands--
        this.#letGo()
      },
    )
  }

  // The end

  close() {
    this.#stage = 'closed'
    this.#age++
    this.#parts.reads.end()
    this.#parts.closed()
    this.#letGo()
  }

  /**
   * The locks, once nothing is stored any more, and nothing is being written. Another page would
   * take over what is not deleted yet.
   */
  #letGo() {
    this.#parts.medium.whenWritten(this.#release)
  }

  readonly #release = () => {
    if (this.#isDone()) this.#parts.locks.release()
  }

  #isDone() {
    return this.#stage === 'closed' || (!this.#places.size && !this.#errands)
  }
}

/** [spec] ECMAScript: no clock goes beyond it, ms. Behind it there is room for counting on. */
const MAX_TIME = 8.64e15
