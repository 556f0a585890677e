import { settles } from '../../../src/testing/harness/virtualClock'

/** Something on its way to a tab. */
interface Parcel {
  /** What is in one pipe arrives in its order; pipes know nothing of each other. */
  readonly pipe: string
  readonly text: string
  readonly arrive: () => void
}

/** Tabs that answer each other without end, and without time passing. */
const MANY = 3_000

/** Everything that is on its way to the tabs: messages, frames, answers, news of locks. */
export class Pipes {
  readonly held = new Set<string>()
  readonly #parcels: Parcel[] = []
  readonly #isAwake: (pipe: string) => boolean

  constructor(isAwake: (pipe: string) => boolean) {
    this.#isAwake = isAwake
  }

  put(pipe: string, text: string, arrive: () => void) {
    this.#parcels.push({ pipe, text, arrive })
  }

  has(pipe: string) {
    return this.#parcels.some((parcel) => parcel.pipe === pipe)
  }

  /** What is on its way, in the order in which it was sent. */
  list(pipe = ''): readonly string[] {
    return this.#parcels.flatMap((parcel) => (parcel.pipe.startsWith(pipe) ? `${parcel.pipe}: ${parcel.text}` : []))
  }

  /** The first of a pipe arrives, even if it is held. */
  arrive(pipe: string) {
    this.#take((parcel) => parcel.pipe === pipe)?.arrive()
  }

  lose(pipe: string) {
    while (this.#take((parcel) => parcel.pipe.startsWith(pipe)));
  }

  /**
   * Everything arrives that is not held, and not for a tab that sleeps. False: it has no end.
   */
  async settle(): Promise<boolean> {
    await settles()
    for (let count = 0; count < MANY; count++) {
      const parcel = this.#take(({ pipe }) => !this.held.has(pipe) && this.#isAwake(pipe))
      if (!parcel) return true
      parcel.arrive()
      await settles()
    }
    return false
  }

  #take(is: (parcel: Parcel) => boolean): Parcel | undefined {
    const index = this.#parcels.findIndex(is)
    return index < 0 ? undefined : this.#parcels.splice(index, 1)[0]
  }
}
