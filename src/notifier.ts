import { ConnectionError } from './errors'
import type { ConnectionEvents, ConnectionSnapshot } from './types'

type Name = Exclude<keyof ConnectionEvents, 'message'>
type Listener = (event: never) => void
type Fact = { readonly [N in Name]: readonly [N, ConnectionEvents[N]] }[Name]

export type Notifier = ReturnType<typeof createNotifier>

const INITIAL: ConnectionSnapshot = {
  phase: 'idle',
  connectionId: null,
  attempt: 0,
  retryAt: null,
  pending: 0,
  lastError: null,
}

/** Tells the app. What the app throws harms neither the line nor another listener. */
export function createNotifier(read: () => ConnectionSnapshot) {
  const listeners = new Map<Name, readonly Listener[]>()
  let subscribers: readonly ((snapshot: ConnectionSnapshot) => void)[] = []
  let snapshot: ConnectionSnapshot = INITIAL
  let told = snapshot
  let facts: Fact[] = []
  let deliveries: Fact[] = []
  let isScheduled = false
  let isDraining = false
  const due: (() => void)[] = []
  const warned = new Set<string>()

  /** The same reference until something changes. */
  function getSnapshot(): ConnectionSnapshot {
    const now = read()
    const keys = Object.keys(now) as (keyof ConnectionSnapshot)[]
    if (keys.some((key) => now[key] !== snapshot[key])) snapshot = now
    return snapshot
  }

  function call(listener: () => void) {
    try {
      listener()
    } catch (cause) {
      tell('error', { error: new ConnectionError('listener-failed', 'a listener threw', { cause }) })
    }
  }

  /** At once, whatever else is being told. */
  function tell<N extends 'error' | 'session'>(name: N, event: ConnectionEvents[N]) {
    const found = listeners.get(name) ?? []
    for (const listener of found as readonly ((event: ConnectionEvents[N]) => void)[]) {
      if (name === 'session') call(() => listener(event))
      else
        try {
          listener(event)
        } catch (cause) {
          console.warn('holdline: an error listener threw', cause)
        }
    }
    if (found.length > 0 || name !== 'error') return
    const { error } = event as ConnectionEvents['error']
    if (!warned.has(error.code)) console.warn(`holdline: ${error.code}`, error)
    warned.add(error.code)
  }

  /** Snapshot first, then `phase`, then the facts in their order, then `delivery`. */
  function publish() {
    const current = getSnapshot()
    const previous = told
    told = current
    if (current !== previous) {
      for (const subscriber of subscribers) due.push(() => subscribers.includes(subscriber) && subscriber(current))
    }
    const news: Fact[] =
      current.phase === previous.phase ? [] : [['phase', { phase: current.phase, previous: previous.phase }]]
    news.push(...facts, ...deliveries)
    facts = []
    deliveries = []
    for (const [name, event] of news) {
      for (const listener of listeners.get(name) ?? [])
        due.push(() => listeners.get(name)?.includes(listener) && listener(event as never))
    }
    if (isDraining) return
    isDraining = true
    for (let next = due.shift(); next; next = due.shift()) call(next)
    isDraining = false
  }

  return {
    tell,
    publish,
    getSnapshot,
    /** To be told with the next `publish`. */
    note(...fact: Fact) {
      if (fact[0] === 'delivery') deliveries.push(fact)
      else facts.push(fact)
    },
    /** For what happens outside of the machine's steps. */
    publishSoon() {
      if (isScheduled) return
      isScheduled = true
      queueMicrotask(() => {
        isScheduled = false
        publish()
      })
    },
    on(name: Name, listener: Listener): () => void {
      // A wrapper of its own makes each subscription distinct, as with XState's own `on`.
      const own: Listener = (event) => listener(event)
      listeners.set(name, [...(listeners.get(name) ?? []), own])
      return () => {
        listeners.set(
          name,
          (listeners.get(name) ?? []).filter((other) => other !== own),
        )
      }
    },
    subscribe(listener: (snapshot: ConnectionSnapshot) => void): () => void {
      const own = (current: ConnectionSnapshot) => listener(current)
      subscribers = [...subscribers, own]
      call(() => own(getSnapshot()))
      return () => {
        subscribers = subscribers.filter((other) => other !== own)
      }
    },
  }
}
