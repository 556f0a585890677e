import type { Clock } from '../clock'
import { Refusal } from '../errors'
import type { ChatStream } from './api'

/** One live stream, and whose it is. */
export interface Connection {
  readonly id: string
  readonly principalId: string
  readonly stream: ChatStream
  /** When the stream was opened, or last named by a request. */
  heardAt: number
  /** Listeners that wait for something on behalf of this stream's client. */
  onEnd?: Set<() => void>
}

/** The connections of one principal. */
interface Siblings {
  readonly all: Set<Connection>
  /** How long after this eviction of a silent one the next has to wait, ms. */
  patience: number
  nextAt: number
}

export interface ConnectionsOptions {
  readonly maxPerPrincipal: number
  /** A client that was not heard of for this long is silent, ms. */
  readonly silence: number
  /** A client that has not read for this long does not read, ms. */
  readonly stall: number
  /** The process, where there are several. */
  readonly node: string | undefined
  readonly clock: Pick<Clock, 'now'>
  onCount(count: number): void
  onEnd(id: string, principalId: string, sessionIds: Iterable<string>): void
}

const MAX_PATIENCE = 3_600_000
/** ms. As long as who is told 429 waits. */
const COME_BACK = { retryAfter: 5_000 }

/**
 * The live streams by their connectionId, which names the process too where there are several. A
 * stream removes itself by identity, so an old one never takes a new one along.
 */
export class Connections {
  readonly #options: ConnectionsOptions
  readonly #byId = new Map<string, Connection>()
  readonly #byPrincipal = new Map<string, Siblings>()

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** @throws Refusal 429 if no other one would be opened */
  checkRoom(principalId: string) {
    this.#siblingsOf(principalId)
  }

  /** @throws Refusal 429 over the limit, if all of them seem to be alive */
  open(
    principalId: string,
    createStream: (connectionId: string, onEnd: (sessionIds: Iterable<string>) => void) => ChatStream,
  ): Connection {
    const { silence, node, clock, onEnd } = this.#options
    const { siblings, makeRoom } = this.#siblingsOf(principalId)
    if (makeRoom) makeRoom()
    else siblings.patience = silence
    const id = node === undefined ? randomId() : `${node}.${randomId()}`
    const stream = createStream(id, (sessionIds) => {
      this.#remove({ id, principalId })
      onEnd(id, principalId, sessionIds)
    })
    const connection = { id, principalId, stream, heardAt: clock.now() }
    this.#add(connection, siblings)
    return connection
  }

  /**
   * Finds the connection that a request names, and takes note that its client was heard of. The id
   * is no credential: of another principal it is as unknown as one that was never given out.
   */
  find(id: unknown, principalId: string): Connection | undefined {
    const connection = typeof id === 'string' ? this.#byId.get(id) : undefined
    if (connection?.principalId !== principalId) return undefined
    connection.heardAt = this.#options.clock.now()
    return connection
  }

  /** At once, if it has ended by now. Returns how not to be told. */
  whenEnded(connection: Connection, listener: () => void): () => void {
    if (this.#byId.get(connection.id) !== connection) {
      listener()
      return () => {}
    }
    connection.onEnd ??= new Set()
    connection.onEnd.add(listener)
    return () => void connection.onEnd?.delete(listener)
  }

  all(): readonly Connection[] {
    return [...this.#byId.values()]
  }

  of(principalId: string): readonly Connection[] {
    return [...(this.#byPrincipal.get(principalId)?.all ?? [])]
  }

  #add(connection: Connection, siblings: Siblings) {
    this.#byId.set(connection.id, connection)
    siblings.all.add(connection)
    this.#byPrincipal.set(connection.principalId, siblings)
    this.#options.onCount(this.#byId.size)
  }

  #remove({ id, principalId }: { id: string; principalId: string }) {
    const siblings = this.#byPrincipal.get(principalId)
    const connection = this.#byId.get(id)
    if (!connection || !siblings) return
    this.#byId.delete(id)
    siblings.all.delete(connection)
    if (siblings.all.size === 0) this.#byPrincipal.delete(principalId)
    this.#options.onCount(this.#byId.size)
    for (const tell of connection.onEnd ?? []) tell()
  }

  /** @throws Refusal 429 over the limit, if all of them seem to be alive */
  #siblingsOf(principalId: string) {
    const { maxPerPrincipal, silence } = this.#options
    const known = this.#byPrincipal.get(principalId)
    const siblings: Siblings = known ?? { all: new Set(), patience: silence, nextAt: 0 }
    const isFull = siblings.all.size >= maxPerPrincipal
    const makeRoom = isFull ? this.#roomIn(siblings) : undefined
    if (isFull && !makeRoom) throw new Refusal(429, 'too-many-streams', { 'Retry-After': '5' })
    return { siblings, makeRoom }
  }

  /** How to make room: by ending one that does not read, else the longest silent one. */
  #roomIn(siblings: Siblings): (() => void) | undefined {
    const { stall, silence, clock } = this.#options
    const [unread] = [...siblings.all].sort((a, b) => b.stream.unreadFor - a.stream.unreadFor)
    if (unread && unread.stream.unreadFor >= stall) return () => unread.stream.evict()
    const now = clock.now()
    const [silent] = [...siblings.all].sort((a, b) => a.heardAt - b.heardAt)
    if (!silent || now - silent.heardAt < silence || now < siblings.nextAt) return undefined
    return () => {
      // A frozen page cannot be told from one that reads and says nothing: small writes end in
      // buffers between here and there. One that reads hears the goodbye and comes back, and must
      // not find 20 others of its kind that take turns in evicting each other.
      siblings.nextAt = now + siblings.patience
      siblings.patience = Math.min(2 * siblings.patience, MAX_PATIENCE)
      silent.stream.evict(COME_BACK)
    }
  }
}

/** The process that a connectionId names. */
export const nodeOf = (id: unknown): string | undefined =>
  typeof id === 'string' ? /^([A-Za-z0-9_-]{1,64})\.[A-Za-z0-9_-]{22}$/.exec(id)?.[1] : undefined

/** 128 random bits, as base64url. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}
