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

/** The part of a window, or of a worker's global scope, that is used. */
export interface PageScope {
  readonly document?: Pick<Document, 'visibilityState' | 'addEventListener' | 'removeEventListener'>
  addEventListener?(type: string, listener: (event: Event) => void): void
  removeEventListener?(type: string, listener: (event: Event) => void): void
}

/** How often the wall clock is looked at, and how late a look must be for it to have jumped, ms. */
const LOOK_EVERY = 5_000
const JUMP = 5_000

/** Page visibility, freezing, the back/forward cache, the network, and sleep; whatever of it the scope has. */
export function pageLifecycle(clock: Clock, scope: PageScope = globalThis as PageScope): PageLifecycle {
  return {
    subscribe(listener) {
      const { document } = scope
      const isHidden = () => document?.visibilityState === 'hidden'
      // Not below 0: the clock may have been set back meanwhile.
      const since = (time: number | null) => (time === null ? 0 : Math.max(0, clock.now() - time))
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
        const awayFor = since(awaySince)
        awaySince = null
        suspended = false
        return awayFor
      }
      const onPage: Record<string, (event: Event) => void> = {
        pagehide: suspend,
        pageshow: (event) => {
          if (!(event as PageTransitionEvent).persisted) return
          back()
          listener({ type: 'reconnect' })
        },
        offline: () => {
          offlineSince = clock.now()
        },
        online: () => {
          const awayFor = since(offlineSince)
          offlineSince = null
          listener({ type: 'wake', awayFor })
        },
      }
      const onDocument: Record<string, (event: Event) => void> = {
        visibilitychange: () => (isHidden() ? suspend() : listener({ type: 'wake', awayFor: back() })),
        freeze: suspend,
      }
      for (const [type, handle] of Object.entries(onPage)) scope.addEventListener?.(type, handle)
      for (const [type, handle] of Object.entries(onDocument)) document?.addEventListener(type, handle)

      // A hidden page's timers are throttled, so a late look says nothing there; `visible` will.
      let expected = clock.now() + LOOK_EVERY
      const look = () => {
        const late = clock.now() - expected
        expected = clock.now() + LOOK_EVERY
        timer = clock.setTimeout(look, LOOK_EVERY)
        if (late > JUMP && !isHidden()) listener({ type: 'wake', awayFor: late })
      }
      let timer = clock.setTimeout(look, LOOK_EVERY)

      return () => {
        for (const [type, handle] of Object.entries(onPage)) scope.removeEventListener?.(type, handle)
        for (const [type, handle] of Object.entries(onDocument)) document?.removeEventListener(type, handle)
        clock.clearTimeout(timer)
      }
    },
  }
}
