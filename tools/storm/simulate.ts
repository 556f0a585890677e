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
export function simulate(policy: Policy, fleet: Fleet): Outcome {
  const { clients, rate, model } = fleet
  const random = mulberry32(fleet.seed)
  const timeout = Math.round(Math.min(policy.timeout, SYN_TIMEOUT) / TICK)
  const room = fleet.queue ?? (rate * ACCEPT_QUEUE.length) / ACCEPT_QUEUE.perSecond
  const perTick = rate / PER_SECOND
  const saved = model === 'refused' ? Math.max(1, (rate * BURST) / 1_000) : perTick + 1

  const state = new Uint8Array(clients)
  const failures = new Uint16Array(clients)
  const attemptsOf = new Uint16Array(clients)
  const knockedAt = new Int32Array(clients)
  const backAt = new Int32Array(clients).fill(NONE)
  const wheel = new Int32Array(WHEEL).fill(NONE)
  const following = new Int32Array(clients)
  const queue = createQueue(clients)

  const offered: number[] = []
  const back: number[] = []
  let now = 0
  let attempts = 0
  let accepted = 0
  let gaveUp = 0
  let credit = 0

  /** A client has one plan at a time. */
  function plan(client: number, tick: number) {
    const slot = Math.max(tick, now + 1) % WHEEL
    following[client] = at(wheel, slot)
    wheel[slot] = client
  }

  function leave(client: number) {
    const delay = policy.delay(at(failures, client), random)
    failures[client] = at(failures, client) + 1
    state[client] = AWAY
    if (delay === null) gaveUp++
    else plan(client, now + Math.round((delay + NETWORK.least + random() * (NETWORK.most - NETWORK.least)) / TICK))
  }

  function accept(client: number) {
    state[client] = BACK
    backAt[client] = now
    accepted++
    credit--
  }

  /** Its SYN is there, for the first time or repeated. */
  function knock(client: number) {
    const since = at(knockedAt, client)
    if (queue.length < room) {
      queue.add(client)
      state[client] = QUEUED
      plan(client, since + timeout)
    } else {
      state[client] = KNOCKING
      plan(client, since + Math.min(2 * (now - since) + PER_SECOND, timeout))
    }
  }

  function attempt(client: number) {
    attempts++
    attemptsOf[client] = at(attemptsOf, client) + 1
    offered[offered.length - 1] = (offered.at(-1) ?? 0) + 1
    knockedAt[client] = now
    if (model === 'backlog') knock(client)
    else if (credit >= 1) accept(client)
    else leave(client)
  }

  function wake(client: number) {
    const step = at(state, client)
    if (step === AWAY) attempt(client)
    else if (step !== BACK && now - at(knockedAt, client) >= timeout) {
      if (step === QUEUED) queue.remove(client)
      leave(client)
    } else if (step === KNOCKING) knock(client)
  }

  for (let client = 0; client < clients; client++) leave(client)
  while (accepted + gaveUp < clients && now < HORIZON) {
    if (now++ % PER_SECOND === 0) offered.push(0)
    credit = Math.min(credit + perTick, saved)
    let client = at(wheel, now % WHEEL)
    wheel[now % WHEEL] = NONE
    while (client !== NONE) {
      const next = at(following, client)
      wake(client)
      client = next
    }
    while (credit >= 1 && queue.length > 0) accept(queue.take())
    back[offered.length - 1] = accepted
  }
  return { policy: policy.name, offered, back, attempts, gaveUp, backAt, attemptsOf }
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
