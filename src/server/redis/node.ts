import type { Timers } from '../clock'
import type { Cluster, ClusterHost } from '../log/cluster'
import { randomId } from '../stream/connections'
import { Mailbox } from './mailbox'
import type { Part, PartOf } from './part'
import { Revocations } from './revocations'
import { SharedReceipts } from './sharedReceipts'

export interface NodeOptions {
  readonly partOf: PartOf
  /** Where the things are that are nobody's. */
  readonly home: Part
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
  const { partOf, home, host } = options
  const node = randomId()
  const own = partOf(node)
  const channel = own.keys.nodeChannel(node)
  const news = home.keys.revocations
  let count = 0
  const nextId = () => {
    count += 1
    return `${node}.${count}`
  }
  const mailbox = new Mailbox({ ...options, node, nextId })
  const receipts = new SharedReceipts({ ...options, nextId })
  const revocations = new Revocations({ ...home, node, onRevoked: host.onRevoked })

  void own.subscriptions.add(channel)
  void home.subscriptions.add(news)
  revocations.look()

  return {
    node,
    receive(to, text) {
      if (to === news) revocations.look()
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
      await Promise.all([own.subscriptions.remove(channel), home.subscriptions.remove(news)])
    },
  }
}
