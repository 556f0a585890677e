import type { PageScope } from '../../adapters/pageLifecycle'

export interface TestPage extends PageScope {
  /** How many listeners the connection has on it. */
  readonly listeners: number
  /** The tab is in the background. */
  hides(): void
  /** It is back. */
  shows(): void
  /** A navigation that does not leave it: a download, or an answer 204. */
  stays(): void
  /** Into the back/forward cache, and out of it again. */
  leaves(): void
  returns(): void
  freezes(): void
  thaws(): void
  /** Its code is gone, and with it all that listened. */
  unloads(): void
  goesOffline(): void
  comesOnline(): void
}

/** As much of a window as a connection listens to. */
export function createPage(): TestPage {
  const listeners = new Set<readonly [target: object, type: string, listener: (event: Event) => void]>()
  let visibilityState = 'visible'
  const target = {
    addEventListener(this: object, type: string, listener: (event: Event) => void) {
      listeners.add([this, type, listener])
    },
    removeEventListener(this: object, type: string, listener: (event: Event) => void) {
      for (const entry of listeners) {
        if (entry[0] === this && entry[1] === type && entry[2] === listener) listeners.delete(entry)
      }
    },
  }
  const document = {
    ...target,
    get visibilityState() {
      return visibilityState
    },
  }
  const dispatch = (on: object, type: string, more: object = {}) => {
    for (const [where, name, listener] of [...listeners]) {
      if (where === on && name === type) call(listener, { type, ...more })
    }
  }
  const becomes = (state: string) => {
    visibilityState = state
    dispatch(document, 'visibilitychange')
  }
  const page: TestPage = {
    ...target,
    document,
    get listeners() {
      return listeners.size
    },
    hides: () => becomes('hidden'),
    shows: () => becomes('visible'),
    stays: () => dispatch(page, 'beforeunload'),
    leaves() {
      dispatch(page, 'beforeunload')
      becomes('hidden')
      dispatch(page, 'pagehide', { persisted: true })
    },
    returns() {
      dispatch(page, 'pageshow', { persisted: true })
      becomes('visible')
    },
    freezes: () => dispatch(document, 'freeze'),
    thaws: () => dispatch(document, 'resume'),
    unloads() {
      listeners.clear()
      visibilityState = 'visible'
    },
    goesOffline: () => dispatch(page, 'offline'),
    comesOnline: () => dispatch(page, 'online'),
  }
  return page
}

/** An EventTarget takes functions, and objects with a `handleEvent`. */
function call(listener: unknown, event: object) {
  if (typeof listener === 'function') listener(event)
  else (listener as { handleEvent(event: object): void }).handleEvent(event)
}
