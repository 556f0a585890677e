import type { Carrier } from '../adapters/transport'
import type { Clock } from '../environment'
import type { ConnectionError } from '../errors'
import type { Cursor } from '../protocol'
import type { Typed } from './messages'

// What the core asks of a storage. `holdline/storage` implements it; an app that stores nothing
// ships nothing of it.

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

/** A message of the outbox, as far as it is stored. */
export interface Storable {
  readonly id: string
  readonly json: string
  readonly expiresAt: number
  readonly failures: number
  readonly drops: number
  readonly lane: { readonly name: string }
  readonly triedAt: number | undefined
  readonly attempts: number
  /**
   * Both are the store's: where the message is stored, or may be, and its place in the order of
   * sending.
   */
  place?: string | undefined
  number?: number
}

/** The messages without a verdict, for the next page. */
export interface Store {
  /** Null where cursors are not stored. */
  readonly cursors: CursorStore | null
  /** Opens no stream before the storage was read for the first time, or is late. */
  afterRead(carrier: Carrier): Carrier
  /**
   * Takes over the messages that connections which are gone have left, oldest first. Calls back at
   * once where there is nothing to wait for. Where the storage is late, it calls back twice: with
   * nothing, so that the line can go on, and when it has answered.
   */
  adopt(take: (messages: readonly StoredMessage[]) => void): void
  put(message: Storable): void
  remove(place: string | undefined): void
  /** Deletes all messages under the key, whoever stored them, and what could not be read. */
  clear(): void
  /** The connection is no more. What is stored stays. */
  close(): void
}

export interface CursorStore {
  /** Calls back once, and at once where the storage answers at once. */
  read(take: (cursors: readonly Cursor[]) => void): void
  /** `undefined`: the session is not tracked any more. */
  put(sessionId: string, cursor: Cursor | undefined): void
}

export interface StoreSetup {
  readonly url: string
  readonly clock: Clock
  report(error: ConnectionError): void
  warn(what: string, cause: unknown): void
}

/** What `persist()` returns, seen from inside. */
export interface StoreMaker {
  open(setup: StoreSetup): Store | null
}

/** What `persist()` of `holdline/storage` returns. */
export interface Persistence {
  /** Called by `createConnection`. */
  open(setup: never): unknown
}
