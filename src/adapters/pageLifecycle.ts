import type { Clock } from '../environment'

/** What a page, or the machine it runs on, tells the connection. */
export type PageSignal =
  /** The page may be frozen or gone any moment. */
  | { readonly type: 'suspend' }
  /**
   * It is back, or the network is, after `awayFor` ms; Infinity if whatever was open may be dead.
   */
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

/**
 * `hidden`: out of sight from the start. `suspended`: the connection was told that the page may be
 * gone.
 */
type Presence =
  | { readonly state: 'here'; readonly since: null }
  | { readonly state: 'hidden' | 'suspended'; readonly since: number }
const HERE: Presence = { state: 'here', since: null }

/**
 * Page visibility, freezing, the back/forward cache, the network, and sleep; whatever of it the
 * scope has.
 */
export function pageLifecycle(clock: Clock, scope: PageScope = globalThis as PageScope): PageLifecycle {
  const { document } = scope
  const isHidden = () => document?.visibilityState === 'hidden'
  return {
    subscribe(listener) {
      let presence: Presence = isHidden() ? { state: 'hidden', since: clock.now() } : HERE
      let offlineSince: number | null = null
      let stayTimer: unknown

      const wake = (awayFor: number) => listener({ type: 'wake', awayFor })
      /** A clock that was set back meanwhile says 0, and so does null: it was not away. */
      const wakeSince = (since: number | null) => wake(Math.max(0, clock.now() - (since ?? Infinity)))
      const handle = ({ type, persisted }: Partial<PageTransitionEvent>) => {
        if (type === 'beforeunload') {
          // A download, or a 204: Firefox and WebKit end what is open, without an event. Tried by
          // `wake`, or replaced.
          clock.clearTimeout(stayTimer)
          stayTimer = clock.setTimeout(() => wake(Infinity), STAYS)
        } else if (type === 'offline') offlineSince = clock.now()
        else if (type === 'online') {
          wakeSince(offlineSince)
          offlineSince = null
        } else if (type === 'pageshow') {
          if (!persisted) return
          presence = HERE
          listener({ type: 'reconnect' })
        } else if (type === 'visibilitychange' && !isHidden()) {
          wakeSince(presence.since)
          presence = HERE
        } else {
          if (type === 'pagehide') clock.clearTimeout(stayTimer)
          // visibilitychange, pagehide and freeze follow each other; one signal is enough.
          if (presence.state === 'suspended') return
          presence = { state: 'suspended', since: presence.since ?? clock.now() }
          listener({ type: 'suspend' })
        }
      }
      const change = (method: 'addEventListener' | 'removeEventListener') => {
        for (const type of ON_PAGE) scope[method]?.(type, handle)
        for (const type of ON_DOCUMENT) document?.[method](type, handle)
      }
      change('addEventListener')
      // A hidden page's timers are throttled, so a late look says nothing there; `visible` will.
      const stopLooking = watchClock(clock, (late) => isHidden() || wake(late))

      return () => {
        change('removeEventListener')
        stopLooking()
        clock.clearTimeout(stayTimer)
      }
    },
  }
}

/** Tells by how many ms the wall clock has jumped: the machine slept. */
function watchClock(clock: Clock, onJump: (late: number) => void): () => void {
  let timer: unknown
  const look = (late: number) => {
    const due = clock.now() + LOOK_EVERY
    timer = clock.setTimeout(() => look(clock.now() - due), LOOK_EVERY)
    if (late > JUMP) onJump(late)
  }
  look(0)
  return () => clock.clearTimeout(timer)
}
