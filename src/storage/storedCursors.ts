import type { CursorStore } from '../connection/store'
import { type Cursor, isCursor, isText, parseJson } from '../protocol'
import type { CorruptEntries, CorruptEntry } from './corruptEntries'
import { cursorPrefix, placeOfCursor, startingWith } from './entries'
import type { Medium } from './medium'
import type { Reads } from './reads'
import { all, type Soon, soon } from './soon'

export interface StoredCursorsOptions {
  readonly key: string
  readonly medium: Medium
  readonly reads: Reads
  readonly corrupt: CorruptEntries
}

export class StoredCursors implements CursorStore {
  readonly #options: StoredCursorsOptions
  /** Where something is stored, or may be. */
  readonly #places = new Set<string>()

  constructor(options: StoredCursorsOptions) {
    this.#options = options
  }

  read(take: (cursors: readonly Cursor[]) => void) {
    const { reads } = this.#options
    const end = reads.begin()
    soon(reads.within(this.#read(), end), (cursors) => {
      take(cursors)
      end()
    })
  }

  put(sessionId: string, cursor: Cursor | undefined) {
    const { key, medium } = this.#options
    const place = placeOfCursor(key, sessionId)
    const isFirst = !this.#places.has(place)
    if (cursor) {
      this.#places.add(place)
      void medium.set(place, JSON.stringify(cursor), isFirst)
    } else {
      this.#places.delete(place)
      void medium.remove(place)
    }
  }

  #read(): Soon<readonly Cursor[]> {
    const { key, medium, corrupt } = this.#options
    return soon(medium.keys(), (keys) => {
      const places = startingWith(cursorPrefix(key), keys)
      return soon(all(places.map((place) => medium.get(place))), (texts) => {
        const bad: CorruptEntry[] = []
        const cursors = places.flatMap((place, index) => {
          const text = texts[index]
          return isText(text) ? this.#parse(place, text, bad) : []
        })
        corrupt.setAside(bad)
        return cursors
      })
    })
  }

  #parse(place: string, text: string, bad: CorruptEntry[]): readonly Cursor[] {
    const { key, medium } = this.#options
    const id = place.slice(cursorPrefix(key).length)
    const value = parseJson(text)
    // The first edition wrote an id as it is: then this may be the place of another key as well.
    const isOld = /[%:]/.test(id) && Object(value).sessionId === id
    if (id.includes(':') && !isOld) return []
    if (!isCursor(value) || !(isOld || place === placeOfCursor(key, value.sessionId))) {
      bad.push([place, text])
      return []
    }
    this.#places.add(placeOfCursor(key, value.sessionId))
    if (isOld)
      soon(medium.set(placeOfCursor(key, id), text), (isWritten) => {
        if (isWritten) void medium.remove(place)
      })
    return [value]
  }
}
