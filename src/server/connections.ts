import type { ChatStream } from './chatStream'
import { Refusal } from './http'

/** One live stream, and whose it is. */
export interface Connection {
  readonly id: string
  readonly principalId: string
  readonly stream: ChatStream
  /** Settles when every command that has arrived so far was started or refused. */
  line: Promise<void>
}

/** A command's place in the order of arrival: start when `before` has settled, then `leave()`. */
export interface Turn {
  readonly before: Promise<void>
  leave(): void
}

/**
 * The live streams by their connectionId, which names the process too where there are several. A stream removes itself by
 * identity, so an old one never takes a new one along.
 */
export function createConnections(
  maxPerPrincipal: number,
  node: string | undefined,
  onCount: (count: number) => void,
  onEnd: (id: string, principalId: string, sessionIds: Iterable<string>) => void,
) {
  const byId = new Map<string, Connection>()
  const byPrincipal = new Map<string, Set<Connection>>()

  function add(connection: Connection, siblings: Set<Connection>) {
    byId.set(connection.id, connection)
    byPrincipal.set(connection.principalId, siblings.add(connection))
    onCount(byId.size)
  }

  function remove({ id, principalId }: { id: string; principalId: string }) {
    const siblings = byPrincipal.get(principalId)
    const connection = byId.get(id)
    if (!connection || !siblings) return
    byId.delete(id)
    siblings.delete(connection)
    if (siblings.size === 0) byPrincipal.delete(principalId)
    onCount(byId.size)
  }

  /** @throws Refusal 429 over the limit */
  function siblingsOf(principalId: string): Set<Connection> {
    const siblings = byPrincipal.get(principalId) ?? new Set()
    if (siblings.size >= maxPerPrincipal) throw new Refusal(429, 'too-many-streams', { 'Retry-After': '5' })
    return siblings
  }

  return {
    /** Whether one more would be opened. @throws Refusal 429 over the limit */
    checkRoom: (principalId: string) => void siblingsOf(principalId),

    /** @throws Refusal 429 over the limit */
    open(
      principalId: string,
      createStream: (connectionId: string, onEnd: (sessionIds: Iterable<string>) => void) => ChatStream,
    ): Connection {
      const siblings = siblingsOf(principalId)
      const id = node === undefined ? randomId() : `${node}.${randomId()}`
      const stream = createStream(id, (sessionIds) => {
        remove({ id, principalId })
        onEnd(id, principalId, sessionIds)
      })
      const connection = { id, principalId, stream, line: Promise.resolve() }
      add(connection, siblings)
      return connection
    },

    /** The id is no credential: of another principal it is as unknown as one that was never given out. */
    find(id: unknown, principalId: string): Connection | undefined {
      const connection = typeof id === 'string' ? byId.get(id) : undefined
      return connection?.principalId === principalId ? connection : undefined
    },

    /** Takes the next place in the line of a stream. Nothing is known of the caller yet, so an unknown id is nothing special. */
    takeTurn(id: string | null): Turn {
      const connection = id === null ? undefined : byId.get(id)
      const before = connection?.line ?? Promise.resolve()
      let leave = () => {}
      const left = new Promise<void>((resolve) => {
        leave = resolve
      })
      if (connection) connection.line = before.then(() => left)
      return { before, leave }
    },

    all: () => [...byId.values()],
  }
}

/** The process that a connectionId names. */
export const nodeOf = (id: unknown): string | undefined =>
  typeof id === 'string' ? /^([A-Za-z0-9_-]{1,64})\.[A-Za-z0-9_-]{22}$/.exec(id)?.[1] : undefined

/** 128 bits that nobody can guess, as base64url. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}
