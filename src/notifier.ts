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
  let due: (readonly [Subscription, event: unknown])[] = []
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

  const heard = (name: Name | 'snapshot') => subscriptions.filter(([heardOf]) => heardOf === name)

  function call(own: Subscription, event: unknown) {
    const [name, listener] = own
    try {
      // It may have unsubscribed since the fact was noted.
      if (subscriptions.includes(own)) listener(event as never)
    } catch (cause) {
      if (name === 'error') console.warn('holdline: an error listener threw', cause)
      else tell('error', { error: new ConnectionError('listener-failed', `a ${name} listener threw`, { cause }) })
    }
  }

  /** At once, whatever else is being told. */
  function tell<N extends 'error' | 'session'>(name: N, event: ConnectionEvents[N]) {
    const those = heard(name)
    for (const own of those) call(own, event)
    if (!('error' in event) || those.length || warned.includes(event.error.code)) return
    warned.push(event.error.code)
    console.warn(`holdline: ${event.error.code}`, event.error)
  }

  /** Snapshot first, then `phase`, then the facts, deliveries last. */
  function publish() {
    const isTelling = due.length > 0
    const previous = told
    told = getSnapshot()
    const queue = (name: Name | 'snapshot', event: unknown) => {
      for (const own of heard(name)) due.push([own, event])
    }
    if (told !== previous) queue('snapshot', told)
    if (told.phase !== previous.phase) queue('phase', { phase: told.phase, previous: previous.phase })
    const news = facts
    facts = []
    for (const [name, event] of news) if (name !== 'delivery') queue(name, event)
    for (const [name, event] of news) if (name === 'delivery') queue(name, event)
    if (isTelling) return
    // More may become due meanwhile.
    for (const [own, event] of due) call(own, event)
    due = []
  }

  return {
    tell,
    publish,
    getSnapshot,
    /** To be told with the next `publish`, in this tick in any case. */
    note(...fact: Fact) {
      if (facts.push(fact) === 1) queueMicrotask(publish)
    },
    on,
    subscribe(listener: (snapshot: ConnectionSnapshot) => void): () => void {
      const unsubscribe = on('snapshot', listener)
      call(subscriptions.at(-1) as Subscription, getSnapshot())
      return unsubscribe
    },
  }
}
