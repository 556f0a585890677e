/** A place in a line. */
export interface Place {
  /** Resolves when everything that stood before has left; undefined if there was nothing. */
  readonly reached: Promise<void> | undefined
  /** From the middle too: then it is as if it had never stood there. */
  leave(): void
}

/** First come, first served. A place that was left holds no memory, as it would in a chain of promises. */
export class Line {
  readonly #places = new Set<() => void>()

  get isEmpty() {
    return this.#places.size === 0
  }

  /** Nobody who waits is called any more. */
  clear() {
    this.#places.clear()
  }

  join(): Place {
    let reach = () => {}
    const reached = this.isEmpty
      ? undefined
      : new Promise<void>((resolve) => {
          reach = resolve
        })
    const place = () => reach()
    this.#places.add(place)
    return {
      reached,
      leave: () => {
        this.#places.delete(place)
        const [first] = this.#places
        first?.()
      },
    }
  }
}
