import { isObject, isText, parseJson } from '../../protocol'
import type { Answer, Claim, Cluster, ClusterHost, Outcome } from '../cluster'
import { randomId } from '../connections'
import { digest } from '../digest'
import type { Timers } from '../options'
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
/** How long a claim lasts that nobody renews, ms: about as long a command waits whose process has died. */
const LEASE = 6_000
const RENEWAL = 2_000
/** How long a command waits for another process that runs it, and how often it looks, ms. */
const CLAIM_TIMEOUT = 20_000
const CLAIM_POLL = 200

/** What is stored of a command: who runs it, or how it ended. */
interface Receipt extends Partial<Outcome> {
  readonly fingerprint: string
  readonly claimedBy?: string
}

export interface RedisNode extends Cluster {
  /** What was published, if it was to a channel of this process. False: it was not. */
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
  const pause = () => new Promise<void>((resolve) => clock.setTimeout(resolve, CLAIM_POLL))

  const send = (to: string, message: object) => link.commands.publish(keys.nodeChannel(to), JSON.stringify(message))

  const orUnavailable = <T>(asking: Promise<T>) =>
    asking.catch((error: unknown): never => {
      throw health.fails(error)
    })

  async function receipt(key: string): Promise<Receipt | undefined> {
    const stored = parseJson((await orUnavailable(link.commands.get(key))) ?? '')
    return isObject(stored) ? (stored as unknown as Receipt) : undefined
  }

  function hear(text: string) {
    const { id, from, request, answer } = Object(parseJson(text))
    if (answer) asked.get(id)?.(answer)
    else if (isText(from) && isText(id) && !heard.has(id)) {
      const [oldest = ''] = heard.add(id)
      if (heard.size > MAX_HEARD) heard.delete(oldest)
      host
        .serve(request)
        .then((answer) => send(from, { id, answer }))
        .catch(host.onError)
    }
  }

  void subscriptions.add(channel)
  void subscriptions.add(keys.revocations)
  revocations.look()

  return {
    node,

    receive(to, text) {
      if (to === channel) hear(text)
      else if (to === keys.revocations) revocations.look()
      else return false
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
          const say = () => send(to, { id, from: node, request })
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
      const { fingerprint, answer } = (await receipt(keys.receipt(await digest(identity)))) ?? {}
      return fingerprint !== undefined && answer ? { fingerprint, answer } : undefined
    },

    async claim(identity, fingerprint): Promise<Claim | Outcome> {
      const key = keys.receipt(await digest(identity))
      const mine = JSON.stringify({ fingerprint, claimedBy: nextId() } satisfies Receipt)
      const settle = (value: string, age: number) => orUnavailable(link.commands.holdlineSettle(key, mine, value, age))
      for (let waited = 0; waited < CLAIM_TIMEOUT; waited += CLAIM_POLL) {
        const isMine = (await orUnavailable(link.commands.set(key, mine, 'PX', LEASE, 'NX'))) !== null
        health.writes()
        const known = isMine ? undefined : await receipt(key)
        // A repeat of `SET` after a reconnect finds what the first one wrote.
        if (isMine || (known && JSON.stringify(known) === mine)) {
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
        if (known?.answer) return { fingerprint: known.fingerprint, answer: known.answer }
        if (known) await pause()
      }
      throw new Error('redisLog: another process has been running this command for too long')
    },

    async leave() {
      await Promise.all([subscriptions.remove(channel), subscriptions.remove(keys.revocations)])
    },
  }
}
