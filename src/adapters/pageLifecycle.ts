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

/** `hidden`: out of sight from the start. `suspended`: the connection was told that the page may be gone. */
type Presence = { readonly state: 'here' } | { readonly state: 'hidden' | 'suspended'; readonly since: number }
const HERE: Presence = { state: 'here' }

/** Page visibility, freezing, the back/forward cache, the network, and sleep; whatever of it the scope has. */
export function pageLifecycle(clock: Clock, scope: PageScope = globalThis as PageScope): PageLifecycle {
  return { subscribe: (listener) => new PageWatch(clock, scope, listener).stop }
}

/** One subscription: what the page was last, and until when the clock is watched. */
class PageWatch {
  readonly #clock: Clock
  readonly #scope: PageScope
  readonly #tell: (signal: PageSignal) => void
  #presence: Presence
  #offlineSince: number | null = null
  /** When the next look at the clock is due. */
  #due: number
  #lookTimer: unknown
  #stayTimer: unknown

  constructor(clock: Clock, scope: PageScope, tell: (signal: PageSignal) => void) {
    this.#clock = clock
    this.#scope = scope
    this.#tell = tell
    this.#presence = this.#isHidden() ? { state: 'hidden', since: clock.now() } : HERE
    this.#listen('addEventListener')
    this.#due = clock.now() + LOOK_EVERY
    this.#lookTimer = clock.setTimeout(this.#look, LOOK_EVERY)
  }

  readonly stop = () => {
    this.#listen('removeEventListener')
    this.#clock.clearTimeout(this.#lookTimer)
    this.#clock.clearTimeout(this.#stayTimer)
  }

  #listen(method: 'addEventListener' | 'removeEventListener') {
    for (const type of ON_PAGE) this.#scope[method]?.(type, this.#handle)
    for (const type of ON_DOCUMENT) this.#scope.document?.[method](type, this.#handle)
  }

  readonly #handle = ({ type, persisted }: Partial<PageTransitionEvent>) => {
    if (type === 'beforeunload') this.#askIfItStays()
    else if (type === 'offline') this.#offlineSince = this.#clock.now()
    else if (type === 'online') {
      this.#wakeAfter(this.#offlineSince ?? this.#clock.now())
      this.#offlineSince = null
    } else if (type === 'pageshow') {
      if (!persisted) return
      this.#presence = HERE
      this.#tell({ type: 'reconnect' })
    } else if (type === 'visibilitychange' && !this.#isHidden()) {
      const presence = this.#presence
      this.#presence = HERE
      this.#wakeAfter(presence.state === 'here' ? this.#clock.now() : presence.since)
    } else {
      if (type === 'pagehide') this.#clock.clearTimeout(this.#stayTimer)
      this.#suspend()
    }
  }

  /** visibilitychange, pagehide and freeze follow each other; one signal is enough. */
  #suspend() {
    const presence = this.#presence
    if (presence.state === 'suspended') return
    this.#presence = { state: 'suspended', since: presence.state === 'here' ? this.#clock.now() : presence.since }
    this.#tell({ type: 'suspend' })
  }

  /** A download, or a 204: Firefox and WebKit end what is open, without an event. The stream is tried, or replaced. */
  #askIfItStays() {
    this.#clock.clearTimeout(this.#stayTimer)
    this.#stayTimer = this.#clock.setTimeout(() => this.#wake(Infinity), STAYS)
  }

  /** A hidden page's timers are throttled, so a late look says nothing there; `visible` will. */
  readonly #look = () => {
    const late = this.#clock.now() - this.#due
    this.#due = this.#clock.now() + LOOK_EVERY
    this.#lookTimer = this.#clock.setTimeout(this.#look, LOOK_EVERY)
    if (late > JUMP && !this.#isHidden()) this.#wake(late)
  }

  #isHidden() {
    return this.#scope.document?.visibilityState === 'hidden'
  }

  /** A clock that was set back meanwhile says 0. */
  #wakeAfter(since: number) {
    this.#wake(Math.max(0, this.#clock.now() - since))
  }

  #wake(awayFor: number) {
    this.#tell({ type: 'wake', awayFor })
  }
}
