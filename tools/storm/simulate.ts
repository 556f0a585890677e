import { type Policy, SYN_TIMEOUT } from './policies'

/** What a fleet does with an attempt that it cannot accept at once. */
export const MODELS = {
  backlog: 'it waits in an accept queue; when that is full the SYN is dropped, and repeated after 1, 3, 7 … s',
  refused: 'a balancer refuses it at once (RST)',
} as const
export type Model = keyof typeof MODELS

export interface Fleet {
  readonly clients: number
  /** Connections accepted per second. */
  readonly rate: number
  readonly seed: number
  readonly model: Model
  /** How many the accept queues hold. Default: what `ACCEPT_QUEUE` says. */
  readonly queue?: number
}

export interface Outcome {
  readonly policy: string
  /** Attempts per second, and clients back at the end of each second. */
  readonly offered: readonly number[]
  readonly back: readonly number[]
  readonly attempts: number
  readonly gaveUp: number
  /** The tick in which each client came back; -1: it did not. */
  readonly backAt: Int32Array
  readonly attemptsOf: Uint16Array
}

/** ms. */
export const TICK = 10
const PER_SECOND = 1_000 / TICK
/**
 * No client plans further ahead than this, ticks. [spec] goodbye: 5 min, and up to 5 min of spread.
 */
const WHEEL = 65_536
const HORIZON = 3_600 * PER_SECOND

/**
 * An attempt takes so long to reach the fleet, ms: what no jitter takes apart is at least not one
 * instant.
 */
const NETWORK = { least: 20, most: 200 }

/**
 * A fleet of processes that take 1,000 connections a second each, with the longest queue that Linux
 * allows by default.
 * [spec] net.core.somaxconn is 4096 since Linux 5.4. Node asks for 511 unless `listen` is told
 * otherwise. What a process has accepted and not served yet (Node 20 takes what is queued in one
 * turn of its loop) is room that is not counted here: in truth the queue is longer than this.
 */
export const ACCEPT_QUEUE = { perSecond: 1_000, length: 4_096 }

/** Refused is what exceeds the rate over this long, ms: a token bucket. */
const BURST = 100

const NONE = -1
const AWAY = 0
const KNOCKING = 1
const QUEUED = 2
const BACK = 3

/** Drops all clients at 0, and follows each until it is back, gives up, or an hour is over. */
export const simulate = (policy: Policy, fleet: Fleet): Outcome => new Storm(policy, fleet).play()

class Storm {
  readonly #policy: Policy
  readonly #fleet: Fleet
  readonly #random: () => number
  /** Of an attempt, ticks. */
  readonly #timeout: number
  /** In the accept queues. */
  readonly #room: number
  readonly #state: Uint8Array
  readonly #failures: Uint16Array
  readonly #attemptsOf: Uint16Array
  readonly #knockedAt: Int32Array
  readonly #backAt: Int32Array
  readonly #wheel = new Int32Array(WHEEL).fill(NONE)
  readonly #following: Int32Array
  readonly #queue: ReturnType<typeof createQueue>
  readonly #offered: number[] = []
  readonly #back: number[] = []
  #now = 0
  #attempts = 0
  #accepted = 0
  #gaveUp = 0
  /** Connections that may be accepted in this tick. */
  #credit = 0

  constructor(policy: Policy, fleet: Fleet) {
    const { clients, rate, queue, seed } = fleet
    this.#policy = policy
    this.#fleet = fleet
    this.#random = mulberry32(seed)
    this.#timeout = Math.round(Math.min(policy.timeout, SYN_TIMEOUT) / TICK)
    this.#room = queue ?? (rate * ACCEPT_QUEUE.length) / ACCEPT_QUEUE.perSecond
    this.#state = new Uint8Array(clients)
    this.#failures = new Uint16Array(clients)
    this.#attemptsOf = new Uint16Array(clients)
    this.#knockedAt = new Int32Array(clients)
    this.#backAt = new Int32Array(clients).fill(NONE)
    this.#following = new Int32Array(clients)
    this.#queue = createQueue(clients)
  }

  play(): Outcome {
    const { clients, rate, model } = this.#fleet
    const perTick = rate / PER_SECOND
    const saved = model === 'refused' ? Math.max(1, (rate * BURST) / 1_000) : perTick + 1
    for (let client = 0; client < clients; client++) this.#leave(client)
    while (this.#accepted + this.#gaveUp < clients && this.#now < HORIZON) {
      if (this.#now++ % PER_SECOND === 0) this.#offered.push(0)
      this.#credit = Math.min(this.#credit + perTick, saved)
      this.#tick()
    }
    return {
      policy: this.#policy.name,
      offered: this.#offered,
      back: this.#back,
      attempts: this.#attempts,
      gaveUp: this.#gaveUp,
      backAt: this.#backAt,
      attemptsOf: this.#attemptsOf,
    }
  }

  #tick() {
    let client = at(this.#wheel, this.#now % WHEEL)
    this.#wheel[this.#now % WHEEL] = NONE
    while (client !== NONE) {
      const next = at(this.#following, client)
      this.#wake(client)
      client = next
    }
    while (this.#credit >= 1 && this.#queue.length > 0) this.#accept(this.#queue.take())
    this.#back[this.#offered.length - 1] = this.#accepted
  }

  /** A client has one plan at a time. */
  #plan(client: number, tick: number) {
    const slot = Math.max(tick, this.#now + 1) % WHEEL
    this.#following[client] = at(this.#wheel, slot)
    this.#wheel[slot] = client
  }

  #leave(client: number) {
    const random = this.#random
    const delay = this.#policy.delay(at(this.#failures, client), random)
    this.#failures[client] = at(this.#failures, client) + 1
    this.#state[client] = AWAY
    if (delay === null) this.#gaveUp++
    else {
      const arrival = delay + NETWORK.least + random() * (NETWORK.most - NETWORK.least)
      this.#plan(client, this.#now + Math.round(arrival / TICK))
    }
  }

  #accept(client: number) {
    this.#state[client] = BACK
    this.#backAt[client] = this.#now
    this.#accepted++
    this.#credit--
  }

  /** Its SYN is there, for the first time or repeated. */
  #knock(client: number) {
    const since = at(this.#knockedAt, client)
    if (this.#queue.length < this.#room) {
      this.#queue.add(client)
      this.#state[client] = QUEUED
      this.#plan(client, since + this.#timeout)
    } else {
      this.#state[client] = KNOCKING
      this.#plan(client, since + Math.min(2 * (this.#now - since) + PER_SECOND, this.#timeout))
    }
  }

  #attempt(client: number) {
    this.#attempts++
    this.#attemptsOf[client] = at(this.#attemptsOf, client) + 1
    this.#offered[this.#offered.length - 1] = (this.#offered.at(-1) ?? 0) + 1
    this.#knockedAt[client] = this.#now
    if (this.#fleet.model === 'backlog') this.#knock(client)
    else if (this.#credit >= 1) this.#accept(client)
    else this.#leave(client)
  }

  #wake(client: number) {
    const step = at(this.#state, client)
    if (step === AWAY) this.#attempt(client)
    else if (step !== BACK && this.#now - at(this.#knockedAt, client) >= this.#timeout) {
      if (step === QUEUED) this.#queue.remove(client)
      this.#leave(client)
    } else if (step === KNOCKING) this.#knock(client)
  }
}

/** When so great a part of all clients was back, s; `null`: never. */
export function timeUntil({ backAt }: Outcome, part: number): number | null {
  const ticks = backAt.filter((tick) => tick !== NONE).sort()
  const tick = ticks[Math.ceil(part * backAt.length) - 1]
  return tick === undefined ? null : tick / PER_SECOND
}

export const peak = ({ offered }: Outcome) => offered.reduce((most, count) => Math.max(most, count), 0)

/** First in, first out; whoever gives up leaves it. */
function createQueue(clients: number) {
  const before = new Int32Array(clients)
  const after = new Int32Array(clients)
  let head = NONE
  let tail = NONE
  return {
    length: 0,
    add(client: number) {
      before[client] = tail
      after[client] = NONE
      if (tail === NONE) head = client
      else after[tail] = client
      tail = client
      this.length++
    },
    remove(client: number) {
      const [left, right] = [at(before, client), at(after, client)]
      if (left === NONE) head = right
      else after[left] = right
      if (right === NONE) tail = left
      else before[right] = left
      this.length--
    },
    take() {
      const client = head
      this.remove(client)
      return client
    },
  }
}

const at = (list: Int32Array | Uint16Array | Uint8Array, index: number) => list[index] as number

/** A small seeded generator: from 0 to 1, the same for the same seed. */
function mulberry32(seed: number) {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
