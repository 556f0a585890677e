import type { Clock } from '../environment'

/** What a page, or the machine it runs on, tells the connection. */
export type PageSignal =
  /** The page may be frozen or gone any moment. */
  | { readonly type: 'suspend' }
  /** It is back, or the network is, after `awayFor` ms; Infinity if whatever was open may be dead. */
  | { readonly type: 'wake'; readonly awayFor: number }
  /** It came back from the back/forward cache: whatever was open is dead. */
  | { readonly type: 'reconnect' }

export interface PageLifecycle {
  /** Returns the function that unsubscribes. */
  subscribe(listener: (signal: PageSignal) => void): () => void
}

interface EventScope {
  addEventListener(type: string, listener: (event: Event) => void): void
  removeEventListener(type: string, listener: (event: Event) => void): void
}

/** The part of a window, or of a worker's global scope, that is used. */
export interface PageScope extends Partial<EventScope> {
  readonly document?: EventScope & { readonly visibilityState: string }
}

const ON_PAGE = ['pagehide', 'pageshow', 'offline', 'online', 'beforeunload']
const ON_DOCUMENT = ['visibilitychange', 'freeze']

/** How often the wall clock is looked at, and how late a look must be for it to have jumped, ms. */
const LOOK_EVERY = 5_000
const JUMP = 5_000
/** A page that is still there so long after `beforeunload` stays, ms. */
const STAYS = 1_000

/** Page visibility, freezing, the back/forward cache, the network, and sleep; whatever of it the scope has. */
export function pageLifecycle(clock: Clock, scope: PageScope = globalThis as PageScope): PageLifecycle {
  return {
    subscribe(listener) {
      const { document } = scope
      const isHidden = () => document?.visibilityState === 'hidden'
      let awaySince: number | null = isHidden() ? clock.now() : null
      let offlineSince: number | null = null
      let suspended = false
      let due = Infinity
      let timer: unknown
      let stayTimer: unknown

      const wake = (since: number | null) =>
        listener({ type: 'wake', awayFor: Math.max(0, clock.now() - (since ?? Infinity)) })
      const back = () => {
        awaySince = null
        suspended = false
      }
      const handle = ({ type, persisted }: Partial<PageTransitionEvent>) => {
        if (type === 'beforeunload') {
          // A download, or a 204: Firefox and WebKit end what is open, without an event. Tried by `wake`, or replaced.
          clock.clearTimeout(stayTimer)
          stayTimer = clock.setTimeout(() => wake(-Infinity), STAYS)
        } else if (type === 'offline') offlineSince = clock.now()
        else if (type === 'online') {
          wake(offlineSince)
          offlineSince = null
        } else if (type === 'pageshow') {
          if (!persisted) return
          back()
          listener({ type: 'reconnect' })
        } else if (type === 'visibilitychange' && !isHidden()) {
          wake(awaySince)
          back()
        } else {
          if (type === 'pagehide') clock.clearTimeout(stayTimer)
          awaySince ??= clock.now()
          // visibilitychange, pagehide and freeze follow each other; one signal is enough.
          if (!suspended) listener({ type: 'suspend' })
          suspended = true
        }
      }
      const change = (method: 'addEventListener' | 'removeEventListener') => {
        for (const type of ON_PAGE) scope[method]?.(type, handle)
        for (const type of ON_DOCUMENT) document?.[method](type, handle)
      }
      // A hidden page's timers are throttled, so a late look says nothing there; `visible` will.
      const look = () => {
        const since = due
        due = clock.now() + LOOK_EVERY
        timer = clock.setTimeout(look, LOOK_EVERY)
        if (clock.now() - since > JUMP && !isHidden()) wake(since)
      }
      change('addEventListener')
      look()

      return () => {
        change('removeEventListener')
        clock.clearTimeout(timer)
        clock.clearTimeout(stayTimer)
      }
    },
  }
}
