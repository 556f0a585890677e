import type { CursorStore } from '../store'
import type { Session } from './session'

/** Stores the cursors that have moved: once for all events of one chunk, and before the page can go away. */
export class CursorWrites {
  readonly #store: CursorStore
  readonly #sessions: ReadonlyMap<string, Session>
  #changed: Set<string> | undefined

  constructor(store: CursorStore, sessions: ReadonlyMap<string, Session>) {
    this.#store = store
    this.#sessions = sessions
  }

  add(sessionId: string) {
    if (!this.#changed) {
      const changed = new Set<string>()
      this.#changed = changed
      queueMicrotask(() => {
        this.#changed = undefined
        for (const id of changed) this.#store.put(id, this.#sessions.get(id)?.cursor)
      })
    }
    this.#changed.add(sessionId)
  }

  /** Its cursor is what is stored already. */
  delete(sessionId: string) {
    this.#changed?.delete(sessionId)
  }
}
