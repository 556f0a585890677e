import { isObject, isText, parseJson } from '../../protocol'
import type { Health } from './health'
import type { Keys } from './keys'
import type { RedisLink } from './link'

export interface RevocationsOptions {
  readonly link: Pick<RedisLink, 'commands' | 'publish'>
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
export class Revocations {
  readonly #options: RevocationsOptions
  #last: string | undefined
  #state: 'idle' | 'looking' | 'lookingAgain' = 'idle'
  #isTold = false

  constructor(options: RevocationsOptions) {
    this.#options = options
  }

  /** Never rejects. */
  look(): void {
    if (this.#state === 'idle') void this.#readAll()
    else this.#state = 'lookingAgain'
  }

  /** Rejects with whatever Redis says. */
  async add(principalId: string, sessionId: string | undefined): Promise<void> {
    const { link, keys, node } = this.#options
    const json = JSON.stringify({ node, principalId, sessionId })
    await link.commands.xadd(keys.revocations, 'MAXLEN', '~', MAX_KEPT, '*', 'e', json)
    // Neither is needed for it to be found.
    const asides = [link.commands.pexpire(keys.revocations, KEEP), link.publish(keys.revocations, '')]
    await Promise.allSettled(asides)
  }

  async #readAll(): Promise<void> {
    try {
      do {
        this.#state = 'looking'
        await this.#readOn()
      } while (this.#isAgain())
      this.#isTold = false
    } catch (error) {
      if (!this.#isTold)
        this.#options.health.tell('revocations of other processes cannot be read; it is tried again every 10 s', error)
      this.#isTold = true
    }
    this.#state = 'idle'
  }

  /** Asked for while it was read: what came last may not have been there yet. */
  #isAgain(): boolean {
    return this.#state === 'lookingAgain'
  }

  async #readOn(): Promise<void> {
    const { link, keys } = this.#options
    // Revocations older than this process are about streams that it never had.
    this.#last ??= (await link.commands.xrevrange(keys.revocations, '+', '-', 'COUNT', 1))[0]?.[0] ?? '0-0'
    for (;;) {
      const page: [id: string, fields: string[]][] = await link.commands.xrange(
        keys.revocations,
        `(${this.#last}`,
        '+',
        'COUNT',
        PAGE,
      )
      for (const [id, [, json = '']] of page) {
        this.#last = id
        this.#take(parseJson(json))
      }
      if (page.length < PAGE) return
    }
  }

  #take(value: unknown) {
    const { node, onRevoked } = this.#options
    if (!isObject(value) || value.node === node) return
    const { principalId, sessionId } = value
    if (isText(principalId) && (sessionId === undefined || isText(sessionId))) onRevoked(principalId, sessionId)
  }
}
