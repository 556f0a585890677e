import { ConnectionError } from './errors'
import type { ConnectionEvents, ConnectionSnapshot } from './types'

type Name = Exclude<keyof ConnectionEvents, 'message'>
type Listener = (event: never) => void
type Fact = { readonly [N in Name]: readonly [N, ConnectionEvents[N]] }[Name]

type Subscription = readonly [name: Name | 'snapshot', listener: Listener]

export type Notifier = ReturnType<typeof createNotifier>

/** Tells the app. What the app throws harms neither the line nor another listener. */
export function createNotifier(read: () => ConnectionSnapshot) {
  let subscriptions: readonly Subscription[] = []
  let snapshot = {} as ConnectionSnapshot
  let told = snapshot
  let facts: Fact[] = []
  let due: (Fact | readonly ['snapshot', ConnectionSnapshot])[] = []
  const warned: string[] = []

  /** The same reference until something changes. */
  function getSnapshot(): ConnectionSnapshot {
    const now = read()
    if (Object.entries(now).some(([key, value]) => value !== snapshot[key as keyof ConnectionSnapshot])) snapshot = now
    return snapshot
  }

  function on(...own: Subscription): () => void {
    subscriptions = [...subscriptions, own]
    return () => {
      subscriptions = subscriptions.filter((other) => other !== own)
    }
  }

  /** At once, whatever else is being told. Returns how many heard of it. */
  function tell(name: Name | 'snapshot', event: unknown): number {
    const those = subscriptions.filter((own) => own[0] === name)
    for (const own of those) call(own, event)
    return those.length
  }

  function call(own: Subscription, event: unknown) {
    const [name, listener] = own
    try {
      // Another listener may have unsubscribed it.
      if (subscriptions.includes(own)) listener(event as never)
    } catch (cause) {
      if (name === 'error') console.warn('holdline: an error listener threw', cause)
      else report(new ConnectionError('listener-failed', `a ${name} listener threw`, { cause }))
    }
  }

  /** Tells an error that the line survived, and warns where nobody listens. */
  function report(error: ConnectionError) {
    const { code } = error
    if (tell('error', { error }) || warned.includes(code)) return
    warned.push(code)
    console.warn(`holdline: ${code}`, error)
  }

  /** Snapshot first, then `phase`, then the facts, deliveries last. */
  function publish() {
    const isTelling = due.length > 0
    const { phase: previous } = told
    if (told !== getSnapshot()) due.push(['snapshot', snapshot])
    told = snapshot
    const { phase } = told
    if (phase !== previous) due.push(['phase', { phase, previous }])
    const isDelivery = ([name]: Fact) => name === 'delivery'
    due.push(...facts.filter((fact) => !isDelivery(fact)), ...facts.filter(isDelivery))
    facts = []
    if (isTelling) return
    // More may become due meanwhile.
    for (const [name, event] of due) tell(name, event)
    due = []
  }

  return {
    on,
    report,
    tell,
    publish,
    getSnapshot,
    /** To be told with the next `publish`, in this tick in any case. */
    note(...fact: Fact) {
      if (facts.push(fact) === 1) queueMicrotask(publish)
    },
    subscribe(listener: (snapshot: ConnectionSnapshot) => void): () => void {
      const unsubscribe = on('snapshot', listener)
      call(subscriptions.at(-1) as Subscription, getSnapshot())
      return unsubscribe
    },
  }
}
