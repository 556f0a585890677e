import { setTimeout as sleep } from 'node:timers/promises'
import { type Dice, oneOf } from '../chaos/dice'
import type { Append } from './check'
import { sharedOf } from './clients'
import { eventOf } from './node'
import type { World } from './world'

/** Events that are in each session before anybody comes. */
export const HISTORY = 5
/** About how long the producer waits between two events, ms. */
const PAUSE = 20

export interface ProducerOptions {
  readonly world: World
  readonly dice: Dice
  readonly sessionIds: readonly string[]
  /** How many there are. */
  readonly clients: number
  onRejected(): void
}

/** Publishes to the sessions as an app does, and writes down what it was told. */
export class Producer {
  /** In the order of the calls. */
  readonly appends: Writable<Append>[] = []
  readonly #options: ProducerOptions
  readonly #appending: Promise<void>[] = []
  #isOver = false

  constructor(options: ProducerOptions) {
    this.#options = options
  }

  async fill() {
    for (const sessionId of this.#options.sessionIds)
      for (let n = 1; n <= HISTORY; n++) await this.#append(sessionId, n)
  }

  /** Until it is stopped. */
  async produce() {
    const { dice, clients, sessionIds } = this.#options
    const random = dice.draw('producer')
    for (let n = HISTORY + 1; !this.#isOver; n++) {
      const isCrowded = random() < 0.5
      const sessionId = isCrowded ? sharedOf(Math.floor(clients * random()), clients) : oneOf(random, sessionIds)
      this.#appending.push(this.#append(sessionId, n))
      await sleep(2 * PAUSE * random())
    }
  }

  stop() {
    this.#isOver = true
  }

  /** Resolves when each event was acknowledged, or rejected. */
  async settled() {
    await Promise.all(this.#appending)
  }

  async #append(sessionId: string, n: number) {
    const record: Writable<Append> = { sessionId, what: `p${n}` }
    this.appends.push(record)
    try {
      const { epoch, seq } = await this.#options.world.publish(sessionId, eventOf(record.what, n))
      record.place = { epoch, seq }
    } catch {
      this.#options.onRejected()
    }
  }
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] }
