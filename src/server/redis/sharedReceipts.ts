import { isText, type JsonObject, parseJson } from '../../protocol'
import type { Timers } from '../clock'
import { MIN_RECEIPT_AGE } from '../command/receipts'
import { digest } from '../digest'
import { Refusal } from '../errors'
import { CANCELLED, type Claim, type ClusterHost, type Outcome } from '../log/cluster'
import type { Part, PartOf } from './part'

export interface SharedReceiptsOptions {
  /** Receipts are where their principal is, whose quota they count against. */
  readonly partOf: PartOf
  readonly clock: Timers
  readonly host: Pick<ClusterHost, 'receiptAge' | 'receipts'>
  /** An id that no other process makes. */
  nextId(): string
}

/**
 * How long a claim lasts that is not renewed, ms: about as long a command waits whose process has
 * died.
 */
const LEASE = 6_000
const RENEWAL = 2_000
/** How long a command waits for another process that runs it, and how often it looks, ms. */
const CLAIM_TIMEOUT = 20_000
const CLAIM_POLL = 200
/** One principal has at most this part of `limits.receipts`. */
const SHARE = 1 / 8
/** Clients wait no longer, s. */
const MAX_WAIT = 300

/** The record of a command: who runs it, or how it ended. */
interface Receipt extends Partial<Outcome> {
  readonly fingerprint: string
  readonly claimedBy?: string
}

/** Where the record of a command is. */
interface Place {
  readonly part: Part
  readonly hash: string
  readonly key: string
  /** The key of its principal's quota. */
  readonly quota: string
}

/** How commands ended, in whichever process, and the right to run one: see `Cluster`. */
export class SharedReceipts {
  readonly #options: SharedReceiptsOptions

  constructor(options: SharedReceiptsOptions) {
    this.#options = options
  }

  async outcome(identity: string): Promise<Outcome | undefined> {
    const [{ part, key }] = (await this.#locate([identity])) as [Place]
    const stored = await part.health.orUnavailable(part.link.commands.get(key))
    const { fingerprint, answer } = stored === null ? {} : parseReceipt(key, stored)
    return fingerprint !== undefined && answer ? { fingerprint, answer } : undefined
  }

  async claim(identity: string, fingerprint: string): Promise<Claim | Outcome> {
    const { clock, nextId } = this.#options
    const places = await this.#locate([identity])
    const [place] = places as [Place]
    const mine = JSON.stringify({ fingerprint, claimedBy: nextId() } satisfies Receipt)
    for (let waited = 0; waited < CLAIM_TIMEOUT; waited += CLAIM_POLL) {
      const [held = ''] = await this.#put(places, mine, LEASE)
      // So does a repeat of the call after a reconnect.
      if (held === mine) return this.#hold(place, mine, fingerprint)
      const known = parseReceipt(place.key, held)
      if (known.answer) return { fingerprint: known.fingerprint, answer: known.answer }
      await new Promise<void>((resolve) => clock.setTimeout(resolve, CLAIM_POLL))
    }
    throw new Error('redisLog: another process has been running this command for too long')
  }

  async cancel(identities: readonly string[]): Promise<readonly string[]> {
    const mine = JSON.stringify(CANCELLED satisfies Receipt)
    const held = await this.#put(await this.#locate(identities), mine, this.#options.host.receiptAge)
    return identities.filter((_, index) => held[index] === mine)
  }

  /** Renews the claim until it is settled. */
  #hold({ part: { link, health }, hash, key, quota }: Place, mine: string, fingerprint: string): Claim {
    const { clock, host } = this.#options
    const settle = (value: string, age: number) =>
      health.orUnavailable(link.commands.holdlineSettle(key, quota, mine, value, age, hash, host.receiptAge))
    const renew = () => {
      settle(mine, LEASE).catch(() => {})
      timer = clock.setTimeout(renew, RENEWAL)
    }
    let timer = clock.setTimeout(renew, RENEWAL)
    return {
      async settle(answer) {
        clock.clearTimeout(timer)
        await settle(answer ? JSON.stringify({ fingerprint, answer } satisfies Receipt) : '', host.receiptAge)
      },
    }
  }

  /**
   * Writes `mine` for so long, ms, where nothing stands: everywhere or nowhere. Resolves with what
   * stands there then; '' for another's, of several. The places are one principal's. @throws
   * Refusal 429 if there is no room
   */
  async #put(places: readonly Place[], mine: string, age: number): Promise<readonly string[]> {
    const [{ part, quota }] = places as [Place]
    const { link, health, keys } = part
    const { receiptAge, receipts } = this.#options.host
    const names = [quota, ...places.map(({ key }) => key)]
    const most = Math.max(1, Math.floor(receipts * SHARE))
    const limits = [most, Math.min(receiptAge, MIN_RECEIPT_AGE), receiptAge, keys.receipts]
    const held = await health.orUnavailable(link.commands.holdlineClaim(names.length, ...names, mine, age, ...limits))
    health.writes()
    if (typeof held === 'number') throw tooManyReceipts(held)
    return held
  }

  /** Where the receipts of commands are, and what counts them. They are one principal's. */
  async #locate(identities: readonly string[]): Promise<readonly Place[]> {
    const [principalId]: unknown[] = JSON.parse(identities[0] ?? '[]')
    const [owner, ...hashes] = await Promise.all([digest(String(principalId)), ...identities.map(digest)])
    const part = this.#options.partOf(owner)
    const { keys } = part
    return hashes.map((hash) => ({ part, hash, key: keys.receipt(hash), quota: keys.quota(owner) }))
  }
}

function parseReceipt(key: string, text: string): Receipt {
  const { fingerprint, answer }: JsonObject = Object(parseJson(text))
  const { status, json }: JsonObject = Object(answer)
  const isAnswer = Number.isInteger(status) && Number(status) >= 200 && Number(status) < 500 && isText(json)
  if (!isText(fingerprint) || !(isAnswer || answer === undefined)) {
    throw new Error(`redisLog: ${key} holds no receipt, so its command is not run until that is gone`)
  }
  return isAnswer ? { fingerprint, answer: { status: Number(status), json: String(json) } } : { fingerprint }
}

const tooManyReceipts = (ms: number) =>
  new Refusal(429, 'too-many-receipts', { 'Retry-After': String(Math.min(MAX_WAIT, Math.ceil(ms / 1_000))) })
