import type { Cursor } from 'holdline'
import type { Chapter } from './chapter'
import { startTally, type Tally } from './tally'
import { EMPTY, type Transcript } from './transcript'

/**
 * What this page has applied, in one entry and so written at once: a cursor that is newer than the
 * transcript would lose tokens, an older one would double them. What it has not sent yet is kept by
 * the library.
 */
export interface Saved {
  readonly cursor: Cursor
  readonly transcript: Transcript
  /** What was said before the server lost it: only this page has that. */
  readonly chapters: readonly Chapter[]
  readonly tally: Tally
}

// The chat is this browser's, what a tab has shown of it is the tab's. A new tab has the server
// replay all of it.
const SESSION_KEY = 'holdline-demo:session'
const STATE_KEY = 'holdline-demo:state'
const TOUR_KEY = 'holdline-demo:tour'

export function load(): Saved {
  const saved = parse(read(sessionStorage, STATE_KEY))
  return saved ?? startChat(read(localStorage, SESSION_KEY) ?? newSessionId())
}

/** Throws what the browser throws, e.g. when it is full. */
function save(saved: Saved) {
  localStorage.setItem(SESSION_KEY, saved.cursor.sessionId)
  sessionStorage.setItem(STATE_KEY, JSON.stringify(saved))
}

export const startChat = (sessionId: string): Saved => ({
  cursor: { sessionId, lastSeq: 0 },
  transcript: EMPTY,
  chapters: [],
  tally: startTally(randomHex()),
})

export const newSessionId = () => `demo-${randomHex()}`

const randomHex = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('')

export const loadTour = (): string | null => read(localStorage, TOUR_KEY)

/** Where the browser stores nothing, a tour lasts as long as its page. */
export function saveTour(json: string) {
  try {
    localStorage.setItem(TOUR_KEY, json)
  } catch {}
}

function read(storage: Storage, key: string): string | null {
  try {
    return storage.getItem(key)
  } catch {
    return null
  }
}

/** Written by this page, so it is trusted, unless it does not look like it. */
function parse(json: string | null): Saved | undefined {
  try {
    const saved: Saved | null = JSON.parse(json ?? 'null')
    const isSaved = typeof saved?.cursor.sessionId === 'string' && Array.isArray(saved.transcript.turns)
    // An earlier version of the page had no more than that.
    return isSaved && Array.isArray(saved.chapters) && typeof saved.tally?.page === 'string' ? saved : undefined
  } catch {
    return undefined
  }
}

/** How long a save may wait for the next one, ms. A reload has the server replay the rest. */
const SAVE_EVERY = 250

/** Saves what `read` returns: soon, at once, and when the page goes. */
export function createKeeper(read: () => Saved, onError: (why: unknown) => void) {
  let timer: ReturnType<typeof setTimeout> | undefined

  function now() {
    clearTimeout(timer)
    timer = undefined
    try {
      save(read())
    } catch (error) {
      onError(error instanceof Error ? error.message : error)
    }
  }
  function soon() {
    timer ??= setTimeout(now, SAVE_EVERY)
  }

  addEventListener('pagehide', now)
  return { soon, now }
}
