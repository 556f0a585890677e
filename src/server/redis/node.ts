import { isText, type JsonObject, parseJson } from '../../protocol'
import type { Answer } from '../answer'
import type { Timers } from '../clock'
import { MIN_RECEIPT_AGE } from '../command/receipts'
import { digest } from '../digest'
import { Refusal } from '../errors'
import { CANCELLED, type Claim, type Cluster, type ClusterHost, type Outcome } from '../log/cluster'
import { randomId } from '../stream/connections'
import type { Health } from './health'
import type { Keys } from './keys'
import type { RedisLink } from './redisLink'
import { createRevocations } from './revocations'
import type { Subscriptions } from './subscriptions'

export interface NodeOptions {
  readonly link: RedisLink
  readonly subscriptions: Subscriptions
  readonly health: Health
  readonly keys: Keys
  readonly clock: Timers
  readonly host: ClusterHost
}

/** How long another process has for an answer, and how often it is looked whether it still is there, ms. */
const ANSWER_TIMEOUT = 5_000
const LOOK = 250
/** Far more than are asked in the time in which one may come again. */
const MAX_HEARD = 10_000
/** How long a claim lasts that is not renewed, ms: about as long a command waits whose process has died. */
const LEASE = 6_000
const RENEWAL = 2_000
/** How long a command waits for another process that runs it, and how often it looks, ms. */
const CLAIM_TIMEOUT = 20_000
const CLAIM_POLL = 200
/** One principal has at most this part of `limits.receipts`. */
const SHARE = 1 / 8
/** Clients wait no longer, s. */
const MAX_WAIT = 300
/** How long a message to another process can be read, ms. */
const MAIL_AGE = 10_000
const MAIL_ID = /^[\w-]{1,64}\.\d{1,15}$/

/** The record of a command: who runs it, or how it ended. */
interface Receipt extends Partial<Outcome> {
  readonly fingerprint: string
  readonly claimedBy?: string
}

interface Place {
  readonly hash: string
  readonly key: string
  /** The key of its principal's quota. */
  readonly quota: string
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

export interface RedisNode extends Cluster {
  /** Takes a message, if it was published to a channel of this process. False: it was not. */
  receive(channel: string, text: string): boolean
  /** Finds what Pub/Sub has lost. */
  look(): void
}

/** This process as one of several: what the others ask of it, and what they know together. */
export function createNode({ link, subscriptions, health, keys, clock, host }: NodeOptions): RedisNode {
  const node = randomId()
  const channel = keys.nodeChannel(node)
  const revocations = createRevocations({ link, health, keys, node, onRevoked: host.onRevoked })
  /** Questions; one whose answer from Redis was lost is asked again after the reconnect. */
  const heard = new Set<string>()
  const asked = new Map<string, (answer: Answer) => void>()
  let count = 0
  const nextId = () => {
    count += 1
    return `${node}.${count}`
  }
  const maxReceipts = Math.max(1, Math.floor(host.receipts * SHARE))
  const pause = () => new Promise<void>((resolve) => clock.setTimeout(resolve, CLAIM_POLL))

  /**
   * Pub/Sub wakes the other one. What it is to believe it reads from a key, where nobody writes who may only publish. Resolves
   * with the number of those who were woken.
   */
  async function send(to: string, id: string, message: object): Promise<number> {
    const [, receivers] = await Promise.all([
      link.commands.set(keys.mail(id), JSON.stringify({ to, ...message }), 'PX', MAIL_AGE),
      link.commands.publish(keys.nodeChannel(to), id),
    ])
    return receivers
  }

  async function open(id: string) {
    const { to, from, request, re, answer }: JsonObject = Object(
      parseJson((await link.commands.get(keys.mail(id))) ?? ''),
    )
    // Somebody may wake others with it, and again and again.
    if (to !== node || heard.has(id)) return
    const [oldest = ''] = heard.add(id)
    if (heard.size > MAX_HEARD) heard.delete(oldest)
    if (answer) asked.get(String(re))?.(answer as Answer)
    else if (isText(from)) await send(from, nextId(), { re: id, answer: await host.serve(request) })
  }

  const orUnavailable = <T>(asking: Promise<T>) =>
    asking.catch((error: unknown): never => {
      throw health.fails(error)
    })

  /**
   * Writes `mine` for so long, ms, where nothing stands: everywhere or nowhere. Resolves with what stands there then; '' for another's,
   * of several. The places are one principal's. @throws Refusal 429 if there is no room
   */
  async function put(places: readonly Place[], mine: string, age: number): Promise<readonly string[]> {
    const { receiptAge } = host
    const minAge = Math.min(receiptAge, MIN_RECEIPT_AGE)
    const names = [places[0]?.quota ?? '', ...places.map(({ key }) => key)]
    const limits = [maxReceipts, minAge, receiptAge, keys.receipts]
    const held = await orUnavailable(link.commands.holdlineClaim(names.length, ...names, mine, age, ...limits))
    health.writes()
    if (typeof held === 'number') throw tooManyReceipts(held)
    return held
  }

  /** Where the receipts of commands are, and what counts them. They are one principal's. */
  async function locate(identities: readonly string[]): Promise<readonly Place[]> {
    const [principalId]: unknown[] = JSON.parse(identities[0] ?? '[]')
    const [owner, ...hashes] = await Promise.all([digest(String(principalId)), ...identities.map(digest)])
    return hashes.map((hash) => ({ hash, key: keys.receipt(hash), quota: keys.quota(owner) }))
  }

  void subscriptions.add(channel)
  void subscriptions.add(keys.revocations)
  revocations.look()

  return {
    node,

    receive(to, text) {
      if (to === keys.revocations) revocations.look()
      else if (to !== channel) return false
      else if (MAIL_ID.test(text)) void orUnavailable(open(text)).catch(() => {})
      return true
    },

    look: revocations.look,

    revoke: revocations.add,

    async ask(to, request) {
      const id = nextId()
      let timer: unknown
      try {
        const asking = new Promise<Answer | 'gone' | 'silent'>((resolve, reject) => {
          asked.set(id, resolve)
          const check = (receivers: unknown, waited: number) => {
            if (receivers === 0) resolve('gone')
            else if (waited >= ANSWER_TIMEOUT) resolve('silent')
            else if (asked.has(id)) timer = clock.setTimeout(() => look(waited + LOOK), LOOK)
          }
          /** It may have died with the question. */
          const look = (waited: number) =>
            link.commands.pubsub('NUMSUB', keys.nodeChannel(to)).then(([, count]) => check(count, waited), reject)
          const say = () => send(to, id, { from: node, request })
          say().then((receivers) => {
            if (receivers !== 0) return check(receivers, 0)
            // Or it is about to subscribe anew: its streams are healthy, and a 404 would end them.
            timer = clock.setTimeout(() => say().then((again) => check(again, LOOK), reject), LOOK)
          }, reject)
        })
        return await orUnavailable(asking)
      } finally {
        clock.clearTimeout(timer)
        asked.delete(id)
      }
    },

    async outcome(identity) {
      const [{ key }] = (await locate([identity])) as [Place]
      const stored = await orUnavailable(link.commands.get(key))
      const { fingerprint, answer } = stored === null ? {} : parseReceipt(key, stored)
      return fingerprint !== undefined && answer ? { fingerprint, answer } : undefined
    },

    async claim(identity, fingerprint): Promise<Claim | Outcome> {
      const places = await locate([identity])
      const [{ hash, key, quota }] = places as [Place]
      const mine = JSON.stringify({ fingerprint, claimedBy: nextId() } satisfies Receipt)
      const settle = (value: string, age: number) =>
        orUnavailable(link.commands.holdlineSettle(key, quota, mine, value, age, hash, host.receiptAge))
      for (let waited = 0; waited < CLAIM_TIMEOUT; waited += CLAIM_POLL) {
        const [held = ''] = await put(places, mine, LEASE)
        // So does a repeat of the call after a reconnect.
        if (held === mine) {
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
        const known = parseReceipt(key, held)
        if (known.answer) return { fingerprint: known.fingerprint, answer: known.answer }
        await pause()
      }
      throw new Error('redisLog: another process has been running this command for too long')
    },

    async cancel(identities) {
      const mine = JSON.stringify(CANCELLED satisfies Receipt)
      const held = await put(await locate(identities), mine, host.receiptAge)
      return identities.filter((_, index) => held[index] === mine)
    },

    async leave() {
      await Promise.all([subscriptions.remove(channel), subscriptions.remove(keys.revocations)])
    },
  }
}

const tooManyReceipts = (ms: number) =>
  new Refusal(429, 'too-many-receipts', { 'Retry-After': String(Math.min(MAX_WAIT, Math.ceil(ms / 1_000))) })
