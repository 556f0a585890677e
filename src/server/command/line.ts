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

  /** No place that waits is reached any more. */
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

/** Lines by their names. Of one in which nothing stands nothing is kept. */
export class Lines {
  readonly #lines = new Map<string, Line>()

  get size() {
    return this.#lines.size
  }

  join(name: string): Place {
    const line = this.#lines.get(name) ?? new Line()
    this.#lines.set(name, line)
    const { reached, leave } = line.join()
    return {
      reached,
      leave: () => {
        leave()
        if (line.isEmpty && this.#lines.get(name) === line) this.#lines.delete(name)
      },
    }
  }
}
