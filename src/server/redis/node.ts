import type { Timers } from '../clock'
import type { Cluster, ClusterHost } from '../log/cluster'
import { randomId } from '../stream/connections'
import type { Health } from './health'
import type { Keys } from './keys'
import { Mailbox } from './mailbox'
import type { RedisLink } from './redisLink'
import { Revocations } from './revocations'
import { SharedReceipts } from './sharedReceipts'
import type { Subscriptions } from './subscriptions'

export interface NodeOptions {
  readonly link: RedisLink
  readonly subscriptions: Subscriptions
  readonly health: Health
  readonly keys: Keys
  readonly clock: Timers
  readonly host: ClusterHost
}

export interface RedisNode extends Cluster {
  /** Takes a message, if it was published to a channel of this process. False: it was not. */
  receive(channel: string, text: string): boolean
  /** Finds what Pub/Sub has lost. */
  look(): void
}

/** This process as one of several: what the others ask of it, and what they know together. */
export function createNode(options: NodeOptions): RedisNode {
  const { subscriptions, keys, host } = options
  const node = randomId()
  const channel = keys.nodeChannel(node)
  let count = 0
  const nextId = () => {
    count += 1
    return `${node}.${count}`
  }
  const mailbox = new Mailbox({ ...options, node, nextId })
  const receipts = new SharedReceipts({ ...options, nextId })
  const revocations = new Revocations({ ...options, node, onRevoked: host.onRevoked })

  void subscriptions.add(channel)
  void subscriptions.add(keys.revocations)
  revocations.look()

  return {
    node,
    receive(to, text) {
      if (to === keys.revocations) revocations.look()
      else if (to === channel) mailbox.receive(text)
      else return false
      return true
    },
    look: () => revocations.look(),
    revoke: (principalId, sessionId) => revocations.add(principalId, sessionId),
    ask: (to, request) => mailbox.ask(to, request),
    outcome: (identity) => receipts.outcome(identity),
    claim: (identity, fingerprint) => receipts.claim(identity, fingerprint),
    cancel: (identities) => receipts.cancel(identities),
    async leave() {
      await Promise.all([subscriptions.remove(channel), subscriptions.remove(keys.revocations)])
    },
  }
}
