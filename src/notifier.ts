import { ConnectionError } from './errors'
import type { ConnectionEvents, ConnectionSnapshot } from './types'

type Name = Exclude<keyof ConnectionEvents, 'message'>
type Listener = (event: never) => void
type Fact = { readonly [N in Name]: readonly [N, ConnectionEvents[N]] }[Name]

type Subscription = readonly [name: Name | 'snapshot', listener: Listener]

/** Tells the app. What the app throws harms neither the line nor another listener. */
export class Notifier {
  #subscriptions: readonly Subscription[] = []
  #snapshot = {} as ConnectionSnapshot
  #told = this.#snapshot
  #facts: Fact[] = []
  #due: (Fact | readonly ['snapshot', ConnectionSnapshot])[] = []
  readonly #warned: string[] = []
  readonly #read: () => ConnectionSnapshot

  constructor(read: () => ConnectionSnapshot) {
    this.#read = read
  }

  /** The same reference until something changes. */
  readonly getSnapshot = (): ConnectionSnapshot => {
    const now = this.#read()
    const isNew = ([key, value]: [string, unknown]) => value !== this.#snapshot[key as keyof ConnectionSnapshot]
    if (Object.entries(now).some(isNew)) this.#snapshot = now
    return this.#snapshot
  }

  on(...own: Subscription): () => void {
    this.#subscriptions = [...this.#subscriptions, own]
    return () => {
      this.#subscriptions = this.#subscriptions.filter((other) => other !== own)
    }
  }

  readonly subscribe = (listener: (snapshot: ConnectionSnapshot) => void): (() => void) => {
    const unsubscribe = this.on('snapshot', listener)
    this.#call(this.#subscriptions.at(-1) as Subscription, this.getSnapshot())
    return unsubscribe
  }

  /** At once, whatever else is being told. Returns how many heard of it. */
  tell(name: Name | 'snapshot', event: unknown): number {
    const those = this.#subscriptions.filter((own) => own[0] === name)
    for (const own of those) this.#call(own, event)
    return those.length
  }

  #call(own: Subscription, event: unknown) {
    const [name, listener] = own
    try {
      // Another listener may have unsubscribed it.
      if (this.#subscriptions.includes(own)) listener(event as never)
    } catch (cause) {
      if (name === 'error') console.warn('holdline: an error listener threw', cause)
      else this.report(new ConnectionError('listener-failed', `a ${name} listener threw`, { cause }))
    }
  }

  /** Tells an error that the line survived, and warns where nobody listens. */
  readonly report = (error: ConnectionError) => {
    const { code } = error
    if (this.tell('error', { error }) || this.#warned.includes(code)) return
    this.#warned.push(code)
    console.warn(`holdline: ${code}`, error)
  }

  /** To be told with the next `publish`, in this tick in any case. */
  note(...fact: Fact) {
    if (this.#facts.push(fact) === 1) queueMicrotask(() => this.publish())
  }

  /** Snapshot first, then `phase`, then the facts, deliveries last. */
  publish() {
    const isTelling = this.#due.length > 0
    const { phase: previous } = this.#told
    const snapshot = this.getSnapshot()
    if (this.#told !== snapshot) this.#due.push(['snapshot', snapshot])
    this.#told = snapshot
    const { phase } = snapshot
    if (phase !== previous) this.#due.push(['phase', { phase, previous }])
    const isDelivery = ([name]: Fact) => name === 'delivery'
    // Not spread into `push`: there may be more facts than a call can have arguments.
    const facts = this.#facts
    this.#facts = []
    for (const fact of facts) if (!isDelivery(fact)) this.#due.push(fact)
    for (const fact of facts) if (isDelivery(fact)) this.#due.push(fact)
    if (isTelling) return
    // More may become due meanwhile.
    for (const [name, event] of this.#due) this.tell(name, event)
    this.#due = []
  }
}
