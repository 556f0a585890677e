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
  const listeners = new Map<Name | 'snapshot', readonly Listener[]>()
  let snapshot = INITIAL
  let told = INITIAL
  let facts: Fact[] = []
  let due: (() => void)[] = []
  let isScheduled = false
  let isTelling = false
  const warned = new Set<string>()

  /** The same reference until something changes. */
  function getSnapshot(): ConnectionSnapshot {
    const now = read()
    if (KEYS.some((key) => now[key] !== snapshot[key])) snapshot = now
    return snapshot
  }

  function add(name: Name | 'snapshot', listener: Listener): () => void {
    // A wrapper makes each subscription one of its own.
    const own: Listener = (event) => listener(event)
    listeners.set(name, [...heard(name), own])
    return () => {
      listeners.set(
        name,
        heard(name).filter((other) => other !== own),
      )
    }
  }

  const heard = (name: Name | 'snapshot') => listeners.get(name) ?? []

  function call(name: Name | 'snapshot', listener: Listener, event: unknown) {
    try {
      // It may have unsubscribed since the fact was noted.
      if (heard(name).includes(listener)) listener(event as never)
    } catch (cause) {
      if (name === 'error') console.warn('holdline: an error listener threw', cause)
      else tell('error', { error: new ConnectionError('listener-failed', `a ${name} listener threw`, { cause }) })
    }
  }

  /** At once, whatever else is being told. */
  function tell<N extends 'error' | 'session'>(name: N, event: ConnectionEvents[N]) {
    for (const listener of heard(name)) call(name, listener, event)
    if (!('error' in event) || heard(name).length > 0 || warned.has(event.error.code)) return
    warned.add(event.error.code)
    console.warn(`holdline: ${event.error.code}`, event.error)
  }

  /** Snapshot first, then `phase`, then the facts, deliveries last. */
  function publish() {
    const current = getSnapshot()
    const previous = told
    told = current
    const queue = (name: Name | 'snapshot', event: unknown) => {
      for (const listener of heard(name)) due.push(() => call(name, listener, event))
    }
    if (current !== previous) queue('snapshot', current)
    if (current.phase !== previous.phase) queue('phase', { phase: current.phase, previous: previous.phase })
    const news = facts
    facts = []
    for (const [name, event] of news) if (name !== 'delivery') queue(name, event)
    for (const [name, event] of news) if (name === 'delivery') queue(name, event)
    if (isTelling) return
    isTelling = true
    for (let index = 0; index < due.length; index++) due[index]?.()
    due = []
    isTelling = false
  }

  return {
    tell,
    publish,
    getSnapshot,
    /** To be told with the next `publish`. */
    note: (...fact: Fact) => facts.push(fact),
    /** For what happens outside of the machine's steps. */
    publishSoon() {
      if (isScheduled) return
      isScheduled = true
      queueMicrotask(() => {
        isScheduled = false
        publish()
      })
    },
    on: add,
    subscribe(listener: (snapshot: ConnectionSnapshot) => void): () => void {
      const unsubscribe = add('snapshot', listener)
      call('snapshot', heard('snapshot').at(-1) as Listener, getSnapshot())
      return unsubscribe
    },
  }
}

const KEYS = Object.keys(INITIAL) as (keyof ConnectionSnapshot)[]
