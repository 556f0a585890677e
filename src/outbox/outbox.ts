import type { Carrier } from '../adapters/transport'
import { check, invalid, isAge, isLane, isSignal } from '../connection/checks'
import type { Delivery, OutboxState, SendOptions, Typed } from '../connection/messages'
import type { Settings } from '../connection/options'
import type { Store, StoredMessage } from '../connection/store'
import { MESSAGE_ID, newId } from '../protocol'
import { deliveryOf } from './delivery'
import type { OutboxHost } from './desk'
import type { Gate } from './flight'
import type { Ending } from './judge'
import { laneName } from './lane'
import { type Message, messageOf, textOf } from './message'
import { type OwnPost, OwnPosts } from './ownPosts'
import { Poster } from './poster'
import { type Reason, refused, toError } from './reasons'
import { evictedBy } from './room'
import { cancelledBy, Stops } from './stop'
import { Unsettled } from './unsettled'

/** Messages leave in `ready` only, whatever the gate says; `retired` accepts none. */
type Life = 'ready' | 'restoring' | 'clearing' | 'retired'

/** The queue of outbound messages. It outlives every stream. */
export class Outbox {
  readonly #settings: Settings
  readonly #store: Store | null
  readonly #host: OutboxHost
  readonly #poster: Poster
  readonly #own: OwnPosts
  readonly #unsettled = new Unsettled()
  readonly #stops = new Stops()
  #life: Life = 'ready'

  constructor(settings: Settings, carrier: Carrier, store: Store | null, host: OutboxHost) {
    this.#settings = settings
    this.#store = store
    this.#host = host
    this.#own = new OwnPosts(settings, carrier, {
      ...host,
      missing: (endpoint, error) => this.#poster.trust.missing(endpoint, error),
      taken: (endpoint, gate) => {
        this.#poster.trust.taken(endpoint, gate)
        this.#poster.givingUp.answered()
      },
    })
    this.#poster = new Poster(settings, carrier, {
      ...host,
      end: (message, ending) => this.#end(message, ending),
      giveUp: (message, code) => this.#giveUp(message, code),
      starting: (message) => {
        this.#store?.put(message)
        this.#tell(message)
      },
      mayPost: () => this.#life === 'ready',
      cancelledBy: (stop) => cancelledBy(stop, this.#unsettled.queue),
      changed: (message) => this.#tell(message),
    })
  }

  // Messages of the app

  enqueue(message: Typed, options: SendOptions = {}): Delivery {
    const { id = newId(), maxAge = this.#settings.outbox.maxAge, lane, signal } = options
    if (!MESSAGE_ID.test(id) || this.#unsettled.byId.has(id))
      throw invalid('id', 'in use, or not 1-255 visible ASCII characters')
    check('maxAge', maxAge, isAge)
    if (lane !== undefined) check('lane', lane, isLane)
    if (signal !== undefined) check('signal', signal, isSignal)
    const expiresAt = this.#settings.clock.now() + maxAge
    const entry = this.#admit({ id, message, expiresAt, attempts: 0, lane: lane && laneName({}, lane) }, 'last')
    this.#announce(entry)
    if (this.#life === 'retired') this.#giveUp(entry, 'disposed')
    else if (signal?.aborted) this.#giveUp(entry)
    else if (!entry.isEnded) {
      this.#settings.check?.('up', JSON.parse(entry.json), (error) => this.#end(entry, refused(error)))
      for (const victim of evictedBy(entry, this.#unsettled, this.#settings.outbox)) this.#giveUp(victim, 'outbox-full')
    }
    if (!entry.isEnded) {
      if (signal) this.#obey(signal, entry)
      this.#store?.put(entry)
      if (entry.isStop) this.#takeBack(entry)
      this.#poster.pump()
    }
    return entry.delivery
  }

  #takeBack(stop: Message) {
    for (const message of cancelledBy(stop, this.#unsettled.queue)) {
      if (message.attempts) message.stoppedBy = stop
      else this.#giveUp(message)
    }
  }

  #obey(signal: AbortSignal, { delivery }: Message) {
    signal.addEventListener('abort', delivery.cancel)
    // A signal may outlive many messages.
    void delivery.settled.then(() => signal.removeEventListener('abort', delivery.cancel))
  }

  /** Takes a message into the queue. */
  #admit(data: StoredMessage, where: 'first' | 'last'): Message {
    const text = textOf(data.message)
    const lane = this.#poster.lanes.get(data.lane ?? laneName(text))
    const message = messageOf(data, lane, text, this.#settings)
    message.delivery = deliveryOf(
      message,
      () => this.#cancel(message),
      () => this.#poster.retryAt(message),
    )
    this.#unsettled.enter(message, where)
    this.#poster.lanes.enter(message, where)
    return message
  }

  /** Tells of a message that was admitted. One that can never be posted ends at once. */
  #announce(message: Message) {
    this.#tell(message)
    this.#stops.enter(message)
    if (message.flaw) this.#giveUp(message, message.flaw)
  }

  #cancel(message: Message): boolean {
    const isNews = this.#giveUp(message)
    // Its lane may have waited for it.
    if (isNews) this.#poster.pump()
    return isNews
  }

  clear() {
    const isReady = this.#life === 'ready'
    // Each end would let the next one leave.
    if (isReady) this.#life = 'clearing'
    for (const message of [...this.#unsettled.queue]) this.#giveUp(message)
    if (this.#life !== 'retired') this.#store?.clear()
    if (isReady) this.#life = 'ready'
    this.#poster.pump()
  }

  #giveUp(message: Message, code: Reason = 'cancelled'): boolean {
    if (message.isEnded) return false
    const { flight, attempts, place } = message
    const isInDoubt = attempts > 0 || (this.#life === 'retired' && place !== undefined)
    this.#end(message, { status: isInDoubt ? 'unknown' : 'rejected', error: toError(code, message) })
    // A POST that is not under way must not carry it; one that is may still carry others.
    if (flight && !(flight.state === 'underWay' && flight.messages.some((other) => !other.isEnded)))
      this.#poster.land(flight)
    return true
  }

  #end(message: Message, ending: Ending) {
    if (message.isEnded) return
    message.end((this.#settings.check?.('receipts', ending, this.#host.report, message.type) ?? ending) as Ending)
    this.#unsettled.leave(message)
    this.#poster.lanes.leave(message)
    this.#poster.lanes.readyNamed(this.#stops.leave(message))
    this.#tell(message)
    if (this.#life !== 'retired') this.#store?.remove(message.place)
  }

  #tell(message: Message) {
    if (message.told === message.status) return
    message.told = message.status
    this.#host.changed(message.delivery, message.sessionId)
  }

  // Storage

  /** The messages of pages that are gone stand before all that is new. */
  restore() {
    if (!this.#store || this.#life !== 'ready') return
    this.#life = 'restoring'
    this.#store.adopt((messages) => this.#take(messages))
  }

  #take(messages: readonly StoredMessage[]) {
    if (this.#life === 'retired') return
    const admitted: Message[] = []
    for (const message of [...messages].reverse()) {
      const known = this.#unsettled.byId.get(message.id)
      if (!known) admitted.unshift(this.#admit(message, 'first'))
      else if (known.place !== message.place) this.#store?.remove(message.place)
    }
    for (const message of admitted) this.#announce(message)
    // A stop that was sent meanwhile stands behind what is restored.
    for (const message of this.#unsettled.queue) if (message.isStop) this.#takeBack(message)
    this.#life = 'ready'
    this.#poster.pump()
  }

  // The line

  start(gate: Gate) {
    // Before the gate opens: stored messages leave first.
    this.restore()
    this.#own.start(gate)
    this.#poster.start(gate)
  }

  /** Nothing leaves: the first message whose turn it is asks for a resume. */
  suspend(gate: Gate) {
    this.#poster.suspend(gate)
  }

  /** Closes the gate. What is under way goes on. */
  hold() {
    this.#own.hold()
    this.#poster.hold()
  }

  /** Ends every POST in flight. */
  abort() {
    this.#own.abort()
    this.#poster.abort()
  }

  /** Nothing is accepted any more; what is stored stays. */
  retire() {
    this.#life = 'retired'
    this.clear()
    this.#store?.close()
  }

  post(own: OwnPost, stream: string) {
    this.#own.post(own, stream)
  }

  /** The end of a stream, and of all that was to be posted about it. */
  leaveStream() {
    this.#own.abort()
  }

  get size() {
    return this.#unsettled.byId.size
  }

  /** Oldest first. */
  get pending(): readonly Delivery[] {
    return Array.from(this.#unsettled.queue, ({ delivery }) => delivery)
  }

  /** Of the messages without a verdict. */
  get sessions(): ReadonlySet<unknown> {
    return new Set(Array.from(this.#unsettled.queue, ({ sessionId }) => sessionId))
  }

  get state(): OutboxState {
    return this.#poster.state
  }
}
