import { ConnectionError } from '../errors'
import type { ConnectionEvents, ConnectionSnapshot } from './api'

type Name = Exclude<keyof ConnectionEvents, 'message'>
type Listener = (event: unknown) => unknown
type Fact = { readonly [N in Name]: readonly [N, ConnectionEvents[N]] }[Name]

/**
 * `line` is for `whenOpen`: told that it is open, or why it will not be. `handle` is for
 * `holdline/sessions`: told each delivery whose status is new, before `delivery` is.
 */
type Subscription = readonly [name: Name | 'snapshot' | 'line' | 'handle', listener: Listener]

/** Tells the app. What the app throws harms neither the line nor another listener. */
export class Notifier {
  #subscriptions: readonly Subscription[] = []
  #snapshot = {} as ConnectionSnapshot
  #told = this.#snapshot
  #facts: Fact[] = []
  #publication: Promise<void> | undefined
  /** Empty but while `publish` tells them; what comes meanwhile is told after them. */
  #due: (Fact | readonly ['snapshot', ConnectionSnapshot])[] = []
  readonly #warned = new Set<string>()
  readonly #read: () => ConnectionSnapshot

  constructor(read: () => ConnectionSnapshot) {
    this.#read = read
  }

  /** The same reference until something changes. */
  readonly getSnapshot = (): ConnectionSnapshot => {
    const now = this.#read()
    for (const key in now) {
      if (now[key as keyof ConnectionSnapshot] !== this.#snapshot[key as keyof ConnectionSnapshot]) this.#snapshot = now
    }
    return this.#snapshot
  }

  on(...own: Subscription): () => void {
    this.#subscriptions = [...this.#subscriptions, own]
    return () => {
      this.#subscriptions = this.#subscriptions.filter((other) => other !== own)
    }
  }

  readonly subscribe = (listener: (snapshot: ConnectionSnapshot) => void): (() => void) => {
    const unsubscribe = this.on('snapshot', listener as Listener)
    this.call('snapshot', listener, this.getSnapshot())
    return unsubscribe
  }

  /** At once, whatever else is being told. Returns how many heard of it. */
  tell(name: Subscription[0], event?: unknown): number {
    const those = this.#subscriptions.filter(([own]) => own === name)
    for (const own of those) {
      // Another listener may have unsubscribed it.
      if (this.#subscriptions.includes(own)) this.call(name, own[1], event)
    }
    return those.length
  }

  /**
   * Calls the app. Returns whether it returned: a promise is not waited for, but must not end the
   * process.
   */
  call<Event>(who: string, listener: (event: Event) => unknown, event: Event): boolean {
    try {
      const late = listener(event) as Promise<unknown> | undefined
      late?.catch?.((cause) => this.#fail(who, cause))
      return true
    } catch (cause) {
      this.#fail(who, cause)
      return false
    }
  }

  #fail(who: string, cause: unknown) {
    const what = `${who} listener threw`
    if (who === 'error') console.warn(`holdline: ${what}`, cause)
    else this.report(new ConnectionError('listener-failed', what, { cause }))
  }

  /** Tells an error that the line survived, and warns where nobody listens. */
  readonly report = (error: ConnectionError, name: 'error' | 'stopped' = 'error') => {
    if (!this.tell(name, { error })) this.warn(name === 'error' ? error.code : 'stopped until connect()', error)
  }

  /** On the console, once. */
  readonly warn = (what: string, cause: unknown) => {
    const { retryable, message } = Object(cause)
    // Of what passes by itself the stack says nothing.
    if (!this.#warned.has(what)) console.warn(`holdline: ${what}`, retryable ? message : cause)
    this.#warned.add(what)
  }

  /** To be told with the next `publish`, in this tick in any case. */
  note(...fact: Fact) {
    this.#facts.push(fact)
    this.publishSoon()
  }

  /** Once for all that changes in this tick. */
  readonly publishSoon = () => {
    if (this.#publication) return
    this.#publication = Promise.resolve().then(() => {
      this.#publication = undefined
      this.publish()
    })
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
    const facts = this.#facts
    this.#facts = []
    // Not spread into `push`: there may be more facts than a call can have arguments.
    for (const isDelivery of [false, true]) {
      for (const fact of facts) if ((fact[0] === 'delivery') === isDelivery) this.#due.push(fact)
    }
    if (isTelling) return
    // More may become due meanwhile.
    for (const [name, event] of this.#due) {
      if (name === 'stopped') this.report(event.error, name)
      else this.tell(name, event)
    }
    this.#due = []
  }
}
