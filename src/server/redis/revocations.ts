import { isObject, isText, parseJson } from '../../protocol'
import type { Health } from './health'
import type { Keys } from './keys'
import type { RedisLink } from './redisLink'

export interface RevocationsOptions {
  readonly link: Pick<RedisLink, 'commands'>
  readonly health: Pick<Health, 'tell'>
  readonly keys: Keys
  /** This process: what it has revoked itself is no news. */
  readonly node: string
  onRevoked(principalId: string, sessionId: string | undefined): void
}

/**
 * How many are kept, about. A process that was cut off for longer than they last has no stream left
 * that is that old.
 */
const MAX_KEPT = 10_000
/** After the last one, ms. Longer than any stream lives by default. */
const KEEP = 86_400_000
const PAGE = 500

/**
 * Revocations, as a Redis Stream: Pub/Sub only tells when to look, so that a lost message delays a
 * revocation by 10 s.
 */
export function createRevocations({ link: { commands }, health, keys, node, onRevoked }: RevocationsOptions) {
  let last: string | undefined
  let state: 'idle' | 'looking' | 'lookingAgain' = 'idle'
  let isTold = false

  async function readOn(): Promise<void> {
    // Revocations older than this process are about streams that it never had.
    last ??= (await commands.xrevrange(keys.revocations, '+', '-', 'COUNT', 1))[0]?.[0] ?? '0-0'
    for (;;) {
      const page: [id: string, fields: string[]][] = await commands.xrange(
        keys.revocations,
        `(${last}`,
        '+',
        'COUNT',
        PAGE,
      )
      for (const [id, [, json = '']] of page) {
        last = id
        take(parseJson(json))
      }
      if (page.length < PAGE) return
    }
  }

  function take(value: unknown) {
    if (!isObject(value) || value.node === node) return
    const { principalId, sessionId } = value
    if (isText(principalId) && (sessionId === undefined || isText(sessionId))) onRevoked(principalId, sessionId)
  }

  async function readAll(): Promise<void> {
    try {
      do {
        state = 'looking'
        await readOn()
      } while (isAgain())
      isTold = false
    } catch (error) {
      if (!isTold) health.tell('revocations of other processes cannot be read; it is tried again every 10 s', error)
      isTold = true
    }
    state = 'idle'
  }

  /** Asked for while it was read: what came last may not have been there yet. */
  const isAgain = () => state === 'lookingAgain'

  return {
    /** Never rejects. */
    look(): void {
      if (state === 'idle') void readAll()
      else state = 'lookingAgain'
    },

    /** Rejects with whatever Redis says. */
    async add(principalId: string, sessionId: string | undefined): Promise<void> {
      const json = JSON.stringify({ node, principalId, sessionId })
      await commands.xadd(keys.revocations, 'MAXLEN', '~', MAX_KEPT, '*', 'e', json)
      // Neither is needed for it to be found.
      const asides = [commands.pexpire(keys.revocations, KEEP), commands.publish(keys.revocations, '')]
      await Promise.allSettled(asides)
    },
  }
}
