import type { PostOptions } from '../../adapters/fetchUpstream'
import type { Carrier } from '../../adapters/transport'
import type { OutboxState, SendOptions } from '../../connection/messages'
import { type ConnectionOptions, readOptions } from '../../connection/options'
import type { Store, StoredMessage } from '../../connection/store'
import { ConnectionError } from '../../errors'
import type { UpstreamEvent } from '../../machine/types'
import type { Gate } from '../../outbox/flight'
import type { Lane } from '../../outbox/lane'
import { Message } from '../../outbox/message'
import { Outbox } from '../../outbox/outbox'
import { createClock, settle } from './fakes'

// What the parts of the outbox are tested with, below the public connection.

/** Those of a connection in virtual time; a first pause takes 250 ms. */
export function createSettings(options: Partial<ConnectionOptions> = {}) {
  const clock = createClock()
  const url = 'http://test/api/chat'
  const settings = readOptions({ url, clock, random: () => 0.5, pageLifecycle: false, ...options })
  return { clock, settings }
}

/** On the stream `c1` of a server that announces nothing, unless the fields say so. */
export const gateOf = (fields: Partial<Gate> = {}): Gate => ({
  connectionId: 'c1',
  features: [],
  receiptAge: Number.POSITIVE_INFINITY,
  isResumed: false,
  trust: 'kept',
  tell() {},
  ...fields,
})

/** A message of this lane, not yet in it. */
export function createMessage(lane: Lane, fields: Partial<Message> = {}): Message {
  const stored = { id: 'm', message: { type: 'send' }, expiresAt: Number.POSITIVE_INFINITY, attempts: 0 }
  const json = JSON.stringify(stored.message)
  const deadline = Number.POSITIVE_INFINITY
  const form = { lane, json, type: 'send', endpoint: 'send', bytes: json.length, deadline }
  return Object.assign(new Message(stored, form), fields)
}

export interface CarriedPost {
  readonly endpoint: string
  readonly body: Record<string, unknown>
  readonly options: PostOptions
  readonly aborted: boolean
  /** `fetch` would be called now, if the POST still wants to leave. */
  starts(): void
  answers(json: unknown): Promise<void>
  fails(error: ConnectionError): Promise<void>
}

/**
 * A transport whose POSTs start `at once`, or `later`, when the test says so; the test ends them.
 */
export function createCarrier(starting: 'at once' | 'later' = 'at once') {
  const posts: CarriedPost[] = []
  const carrier: Carrier = {
    open: () => () => {},
    beacon: () => false,
    post: (endpoint, body, abort, options = {}) =>
      new Promise((resolve, reject) => {
        const { signal } = abort
        signal.addEventListener('abort', () => reject(new ConnectionError('network', 'aborted')))
        const starts = () => options.onStart?.()
        posts.push({
          endpoint,
          body: JSON.parse(body),
          options,
          get aborted() {
            return signal.aborted
          },
          starts,
          answers(json) {
            resolve(json)
            return settle()
          },
          fails(error) {
            reject(error)
            return settle()
          },
        })
        if (starting === 'at once') starts()
      }),
  }
  return { carrier, posts }
}

/** A store that answers when the test says so, and keeps a list of all that it was told. */
export function createStore() {
  const calls: string[] = []
  let take: (messages: readonly StoredMessage[]) => void = () => {}
  const store: Store = {
    cursors: null,
    afterRead: (carrier) => carrier,
    adopt(callback) {
      calls.push('adopt')
      take = callback
    },
    put(message) {
      message.place = `place of ${message.id}`
      calls.push(`put ${message.id}`)
    },
    remove: (place) => void calls.push(`remove ${place}`),
    clear: () => void calls.push('clear'),
    close: () => void calls.push('close'),
  }
  return { store, calls, adopts: (messages: readonly StoredMessage[] = []) => take(messages) }
}

/**
 * The queue of a connection whose transport and time are the test's, and whose store is, if it is
 * `storing`.
 */
export function createOutbox({
  starting,
  storing = false,
  ...options
}: Partial<ConnectionOptions> & {
  readonly starting?: Parameters<typeof createCarrier>[0]
  readonly storing?: boolean
} = {}) {
  const { clock, settings } = createSettings(options)
  const { carrier, posts } = createCarrier(starting)
  const { store, calls, adopts } = createStore()
  const facts: UpstreamEvent[] = []
  const errors: ConnectionError[] = []
  const told: string[] = []
  const states: OutboxState[] = []
  /** What else happens as something is told. */
  const on = { fact() {}, change(_: string) {} }
  const outbox: Outbox = new Outbox(settings, carrier, storing ? store : null, {
    changed({ id, status }) {
      told.push(`${id} ${status}`)
      on.change(`${id} ${status}`)
    },
    waits: () => void states.push(outbox.state),
    tellMachine(fact) {
      facts.push(fact)
      on.fact()
    },
    report: (error) => void errors.push(error),
    crash(cause) {
      throw cause
    },
  })
  return {
    outbox,
    clock,
    posts,
    calls,
    adopts,
    facts,
    errors,
    /** Of each delivery. */
    told,
    /** Of the queue. */
    states,
    on,
    opens: (gate?: Partial<Gate>) => outbox.start(gateOf(gate)),
    /** In a lane of its own, unless another is given. */
    send: (id: string, more: SendOptions = {}) => outbox.enqueue({ type: 'send' }, { id, lane: id, ...more }),
    /** The ids of what was posted alone. */
    sent: () => posts.map(({ options }) => options.idempotencyKey),
    at(index: number): CarriedPost {
      const post = posts[index]
      if (!post) throw new Error(`there were ${posts.length} POSTs`)
      return post
    },
  }
}
