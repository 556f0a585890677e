/** A place in a queue. */
export interface Place {
  /** Resolves when everything that stood before has left; undefined if there was nothing. */
  readonly reached: Promise<void> | undefined
  /** From the middle too: then it is as if it had never stood there. */
  leave(): void
}

/**
 * First come, first served. A place that was left holds no memory, as it would in a chain of
 * promises.
 */
export class PlaceQueue {
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

/** Queues by their names. Of one in which nothing stands nothing is kept. */
export class PlaceQueues {
  readonly #queues = new Map<string, PlaceQueue>()

  get size() {
    return this.#queues.size
  }

  join(name: string): Place {
    const queue = this.#queues.get(name) ?? new PlaceQueue()
    this.#queues.set(name, queue)
    const { reached, leave } = queue.join()
    return {
      reached,
      leave: () => {
        leave()
        if (queue.isEmpty && this.#queues.get(name) === queue) this.#queues.delete(name)
      },
    }
  }
}
