import type { Clock } from '../types'

/** What a page, or the machine it runs on, tells the connection. */
export type PageSignal =
  /** The page may be frozen or gone any moment. */
  | { readonly type: 'suspend' }
  /** It is back, or the network is, after `awayFor` ms. */
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

type Handlers = Readonly<Record<string, (event: Event) => void>>

/** How often the wall clock is looked at, and how late a look must be for it to have jumped, ms. */
const LOOK_EVERY = 5_000
const JUMP = 5_000

/** Page visibility, freezing, the back/forward cache, the network, and sleep; whatever of it the scope has. */
export function pageLifecycle(clock: Clock, scope: PageScope = globalThis as PageScope): PageLifecycle {
  return {
    subscribe(listener) {
      const { document } = scope
      const isHidden = () => document?.visibilityState === 'hidden'
      let awaySince: number | null = isHidden() ? clock.now() : null
      let offlineSince: number | null = null
      let suspended = false

      // visibilitychange, pagehide and freeze follow each other; one signal is enough.
      const suspend = () => {
        awaySince ??= clock.now()
        if (!suspended) listener({ type: 'suspend' })
        suspended = true
      }
      const back = () => {
        awaySince = null
        suspended = false
      }
      const wake = (since: number | null) =>
        listener({ type: 'wake', awayFor: Math.max(0, clock.now() - (since ?? clock.now())) })
      const onPage: Handlers = {
        pagehide: suspend,
        pageshow(event) {
          if (!(event as PageTransitionEvent).persisted) return
          back()
          listener({ type: 'reconnect' })
        },
        offline() {
          offlineSince = clock.now()
        },
        online() {
          wake(offlineSince)
          offlineSince = null
        },
      }
      const onDocument: Handlers = {
        visibilitychange() {
          if (isHidden()) return suspend()
          wake(awaySince)
          back()
        },
        freeze: suspend,
      }
      const change = (method: 'addEventListener' | 'removeEventListener') => {
        for (const [type, handle] of Object.entries(onPage)) scope[method]?.(type, handle)
        for (const [type, handle] of Object.entries(onDocument)) document?.[method](type, handle)
      }
      change('addEventListener')

      // A hidden page's timers are throttled, so a late look says nothing there; `visible` will.
      let timer: unknown
      const look = () => {
        const due = clock.now() + LOOK_EVERY
        timer = clock.setTimeout(() => {
          look()
          if (clock.now() - due > JUMP && !isHidden()) wake(due)
        }, LOOK_EVERY)
      }
      look()

      return () => {
        change('removeEventListener')
        clock.clearTimeout(timer)
      }
    },
  }
}
