import type { Connection } from '../../connection/api'
import type { Delivery, OutboundMessage } from '../../connection/messages'
import type { JsonObject } from '../../protocol'
import type { Harness } from '../harness/harness'
import type { Oracle } from '../oracle/oracle'

const ON_PURPOSE = 'thrown on purpose'

interface AppParts {
  readonly harness: Harness
  readonly message: OutboundMessage
  readonly report: Oracle['report']
}

/** The app: what it has sent, what it watches, and how it listens. */
export class App {
  readonly deliveries: Delivery[] = []
  /** Sessions that the app has left. */
  readonly left = new Set<string>()
  /** Sessions of which the app has passed over a part, by `after: 'head'`. */
  readonly skipped = new Set<string>()
  readonly #parts: AppParts
  readonly #connection: Connection
  readonly #lanes = new Map<string, string | undefined>()
  /** What `watch` returned, of each session, oldest first. */
  readonly #holds = new Map<string, (() => void)[]>()
  /** How often it will throw at a message. */
  #throwsLeft = 0
  #thrownAt: JsonObject | undefined

  constructor(parts: AppParts) {
    this.#parts = parts
    this.#connection = parts.harness.connection
    this.#connection.on('message', (message) => this.#hears(message))
    this.#connection.on('session', ({ sessionId, status }) => {
      if (status === 'gone' || status === 'forbidden') this.#holds.delete(sessionId)
    })
    this.#connection.on('error', ({ error }) => {
      if (error.code === 'listener-failed' && Object(error.cause).message !== ON_PURPOSE)
        parts.report('app', `${error.message}: ${error.cause}`)
    })
  }

  #hears(message: JsonObject) {
    if (this.#throwsLeft > 0) {
      this.#throwsLeft--
      this.#thrownAt = message
      throw new Error(ON_PURPOSE)
    }
    if (message === this.#thrownAt) this.#parts.report('I6', 'a message that was thrown at thrice is offered again')
  }

  readonly throwsLeft = () => this.#throwsLeft

  /** It throws at the next message, each of the three times that it is offered. */
  readonly throwsThrice = () => {
    this.#throwsLeft = 3
  }

  readonly sendsMessage = (lane?: string) => {
    const id = `m${this.deliveries.length + 1}`
    this.#lanes.set(id, lane)
    this.deliveries.push(this.#connection.send(this.#parts.message as never, { id, lane }))
  }

  /** The lane that the app named for it. */
  readonly laneOf = (id: string) => this.#lanes.get(id)

  readonly watches = (sessionId: string, options?: Parameters<Connection['watch']>[1]) => {
    this.left.delete(sessionId)
    if (options?.after === 'head') this.skipped.add(sessionId)
    const holds = this.#holds.get(sessionId) ?? []
    this.#holds.set(sessionId, holds)
    holds.push(this.#connection.watch(sessionId, options))
  }

  /** How many watches of it the app has not given back. */
  readonly holdsOf = (sessionId: string) => this.#holds.get(sessionId)?.length ?? 0

  /** Gives one watch back. The last one untracks the session. */
  readonly releases = (sessionId: string) => {
    const [release, ...others] = this.#holds.get(sessionId) ?? []
    if (!others.length) this.left.add(sessionId)
    this.#holds.set(sessionId, others)
    release?.()
  }

  /** Untracks it, however often it is watched. */
  readonly leaves = (sessionId: string) => {
    this.#holds.delete(sessionId)
    this.#connection.unwatch(sessionId)
    this.left.add(sessionId)
  }
}
