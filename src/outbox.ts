import { toHttpError } from './adapters/fetchUpstream'
import type { Carrier } from './adapters/transport'
import { ConnectionError, type ConnectionErrorCode } from './errors'
import { backoffDelay } from './machine/backoff'
import type { UpstreamEvent } from './machine/types'
import { check, invalid, isAge, type Settings } from './options'
import {
  type Feature,
  isObject,
  isText,
  MAX_BATCH_BYTES,
  MAX_BATCH_MESSAGES,
  MESSAGE_ID,
  newId,
  parseResults,
  RESERVED_TYPES,
} from './protocol'
import type { Storable, Store, StoredMessage } from './store'
import type { Delivery, DeliveryStatus, SendOptions, Typed, Verdict } from './types'

/** The answers that are about the stream, not about what was posted. */
export const STREAM_FACTS: Readonly<Partial<Record<number, UpstreamEvent['type']>>> = {
  401: 'upstream.unauthorized',
  404: 'upstream.disowned',
}
/** How long a POST that outlived its stream may hold up the line once it is open again, ms. */
const GRACE = 1_000

/** One period in which POSTs may start. What a POST learns about the stream counts as long as its gate is the current one. */
export interface Gate {
  readonly connectionId: string | null
  /** What the server announced. */
  readonly features: readonly Feature[]
  /** The head of the line is to be repeated after `delay` ms. */
  pause(delay: number): void
}

interface Entry extends Storable {
  readonly endpoint: string
  /** JSON; empty if there is no need to post it any more. */
  readonly body: () => string
  readonly bytes: number
  /** `expiresAt` by the clock that cannot be set. */
  readonly deadline: number
  settle: (verdict: Verdict) => void
  status: DeliveryStatus
  /** Failures, those included that came before `fetch`. */
  failures: number
  /** An earlier POST may have been applied, and its answer was lost. */
  isInDoubt: boolean
  /** Must not be part of a batch. */
  isAlone?: boolean
  /** None, if the library itself posts it. */
  delivery?: Delivery
  flight?: Flight | undefined
  previous?: Entry | undefined
  next?: Entry | undefined
}

/** A POST that is being prepared, or under way. */
interface Flight {
  readonly entries: readonly Entry[]
  readonly abort: AbortController
  readonly gate: Gate
  /** `fetch` was called: the server may have what it carries. */
  isUnderWay: boolean
  isOver: boolean
}

export type Outbox = ReturnType<typeof createOutbox>

/** The ordered queue of what goes up, and what posts it. It outlives every stream. */
export function createOutbox(
  { clock, random, backoff, timeouts, endpoints, outbox: limits }: Settings,
  carrier: Carrier,
  store: Store | null,
  onChange: (delivery: Delivery) => void,
  tellMachine: (fact: UpstreamEvent) => void,
  report: (error: ConnectionError) => void,
  crash: (cause: unknown) => void,
) {
  /** The app's messages without a verdict. */
  const unsettled = new Map<string, Entry>()
  let bytes = 0
  // The line is a linked list, because taking the first of an array or a Map again and again is not linear.
  let head: Entry | undefined
  let tail: Entry | undefined
  /** All before it are in flight. */
  let next: Entry | undefined
  let inFlight = 0
  /** The POST that is being prepared. One at a time: an async hook must not let a later one start first. */
  let starting: Flight | null = null
  let gate: Gate | null = null
  let grace: unknown
  let isRestoring = false
  let isRetired = false
  /** 0: the server has turned a batch down. Less than at first: one took too long on this stream. */
  let maxBatch = MAX_BATCH_MESSAGES
  let stream: string | null = null
  /** The library's own POSTs that wait for their turn. */
  const inLine = new Set<string>()
  /** No POST starts before this wall-clock time: what the last failure asked for outlives the gate. */
  let notBefore = 0
  let lastDelay = 0
  const elapsed = () => clock.elapsed?.() ?? 0

  // The queue

  function enqueue(message: Typed, { id = newId(), maxAge = limits.maxAge }: SendOptions = {}): Delivery {
    if (!MESSAGE_ID.test(id) || unsettled.has(id)) {
      throw invalid('id', 'in use, or not 1-255 visible ASCII characters')
    }
    check('maxAge', maxAge, isAge)
    const entry = admit({ id, message, expiresAt: clock.now() + maxAge, attempts: 0 })
    if (isRetired) giveUp(entry, 'disposed')
    else if (!isEnded(entry)) makeRoom(entry)
    if (!isEnded(entry)) {
      store?.put(entry, id, entry.body())
      pump()
    }
    return entry.delivery as Delivery
  }

  /** Takes a message into the line; one that can never be posted ends at once. */
  function admit({ id, message, expiresAt, attempts, place }: StoredMessage, before?: Entry): Entry {
    const json = toJson(message)
    const type = isText(message?.type) ? message.type : ''
    const endpoint = Object.hasOwn(endpoints, type) && !RESERVED_TYPES.includes(type) && endpoints[type]
    const entry = insert(
      {
        endpoint: endpoint || '',
        body: () => json,
        bytes: sizeOf(json),
        expiresAt,
        deadline: elapsed() + expiresAt - clock.now(),
        settle() {},
        status: 'queued',
        attempts,
        failures: 0,
        isInDoubt: attempts > 0,
        place,
      },
      before,
    )
    const delivery: Delivery = {
      id,
      message,
      settled: new Promise((resolve) => {
        entry.settle = resolve
      }),
      get status() {
        return entry.status
      },
      cancel: () => giveUp(entry),
    }
    entry.delivery = delivery
    unsettled.set(id, entry)
    bytes += entry.bytes
    onChange(delivery)
    if (!json) giveUp(entry, 'invalid-message')
    else if (!endpoint) giveUp(entry, 'unknown-type', `no endpoint for ${type}`)
    return entry
  }

  /** Nobody is dropped, unless that makes room. */
  function makeRoom(entry: Entry) {
    let messagesOver = unsettled.size - limits.maxMessages
    let bytesOver = bytes - limits.maxBytes
    const isFull = () => messagesOver > 0 || bytesOver > 0
    const victims: Entry[] = []
    if (limits.overflow === 'drop-oldest') {
      for (let old = head; old && old !== entry && isFull(); old = old.next) {
        if (!old.delivery || old.attempts) continue
        victims.push(old)
        messagesOver--
        bytesOver -= old.bytes
      }
    }
    for (const victim of isFull() ? [entry] : victims) giveUp(victim, 'outbox-full')
  }

  function insert(entry: Entry, before?: Entry): Entry {
    entry.next = before
    entry.previous = before ? before.previous : tail
    if (entry.previous) entry.previous.next = entry
    else head = entry
    if (before) before.previous = entry
    else tail = entry
    if (!next || next === before) next = entry
    return entry
  }

  function remove(entry: Entry) {
    if (entry.previous) entry.previous.next = entry.next
    else head = entry.next
    if (entry.next) entry.next.previous = entry.previous
    else tail = entry.previous
    if (next === entry) next = entry.next
  }

  /** What pages that are gone have left stands before all that is new. */
  function restore() {
    if (!store || isRestoring || isRetired) return
    isRestoring = true
    store.adopt((messages) => {
      const first = head
      for (const message of messages) {
        const known = unsettled.get(message.id)
        if (!known && !isRetired) admit(message, first)
        else if (known && known.place !== message.place) store.remove(message.place)
      }
      isRestoring = false
      next = head
      if (!unsettled.size || isRetired) store.release()
      pump()
    })
  }

  function become(entry: Entry, status: DeliveryStatus) {
    if (entry.status === status) return
    entry.status = status
    if (entry.delivery) onChange(entry.delivery)
  }

  function end(entry: Entry, outcome: Ending) {
    if (isEnded(entry)) return
    const { attempts, delivery: { id } = { id: '' }, place } = entry
    become(entry, outcome.status)
    remove(entry)
    if (unsettled.delete(id)) bytes -= entry.bytes
    if (!isRetired) {
      store?.remove(place)
      // What is being taken over is ours already.
      if (!unsettled.size && !isRestoring) store?.release()
    }
    entry.settle({ ...outcome, id, attempts })
  }

  function giveUp(entry: Entry, code: ConnectionErrorCode = 'cancelled', why?: string) {
    const { flight, attempts, place } = entry
    const isInDoubt = attempts > 0 || (isRetired && place)
    end(entry, { status: isInDoubt ? 'unknown' : 'rejected', error: new ConnectionError(code, why) })
    // What is not under way yet must not carry it; what is still carries the others.
    if (flight && !(flight.isUnderWay && flight.entries.some((other) => !isEnded(other)))) land(flight)
  }

  // Posting

  function pump() {
    while (
      gate &&
      !isRestoring &&
      !starting &&
      inFlight < (limits.maxInFlight ?? carrier.maxInFlight?.(gate.features) ?? 1)
    ) {
      while (next?.flight) next = next.next
      if (!next) return
      const entry = next
      const body = isExpired(entry) ? '' : entry.body()
      if (!body) {
        if (entry.delivery) giveUp(entry, 'expired')
        else remove(entry)
        continue
      }
      const batch = batchFrom(entry, gate)
      if (batch.length > 1) {
        const messages = batch.map(
          ({ delivery, endpoint, body }) =>
            `{"id":${JSON.stringify(delivery?.id)},"endpoint":"${endpoint}","body":${body()}}`,
        )
        post(batch, gate, 'batch', `{"messages":[${messages}]}`).catch(crash)
      } else post([entry], gate, entry.endpoint, body).catch(crash)
    }
  }

  // The first to run out: the wall clock may have been set back, and most engines' other one stands still while the machine sleeps.
  const isExpired = ({ attempts, expiresAt, deadline }: Entry) =>
    !attempts && (clock.now() >= expiresAt || elapsed() >= deadline)

  /** What may go in one POST with `first`. */
  function batchFrom(first: Entry, { features }: Gate): readonly Entry[] {
    const batch: Entry[] = []
    if (!features.includes('batch')) return batch
    let size = 0
    for (let entry: Entry | undefined = first; entry && batch.length < maxBatch; entry = entry.next) {
      const { delivery, flight, endpoint } = entry
      if (!delivery || flight || entry.isAlone || POSTED_ALONE.includes(endpoint) || isExpired(entry)) break
      size += entry.bytes + sizeOf(JSON.stringify([delivery.id, endpoint])) + BATCH_OVERHEAD
      if (size > MAX_BATCH_BYTES) break
      batch.push(entry)
    }
    return batch
  }

  async function post(entries: readonly Entry[], opened: Gate, endpoint: string, body: string) {
    const flight: Flight = { entries, abort: new AbortController(), gate: opened, isUnderWay: false, isOver: false }
    for (const entry of entries) entry.flight = flight
    starting = flight
    inFlight++
    const isBatch = entries.length > 1
    const outcome = await carrier
      .post(endpoint, body, flight.abort, {
        timeout: timeouts.send,
        // What the library itself posts is repeated by other means, so a broken answer to it is none.
        needsReceipt: isBatch || opened.features.includes('receipts') || (entries[0]?.delivery && false),
        idempotencyKey: isBatch ? undefined : entries[0]?.delivery?.id,
        onStart() {
          // What was given up, or got too old, while the headers were waited for must not be carried.
          if (gate !== opened || entries.some((entry) => isEnded(entry) || isExpired(entry))) land(flight)
          if (flight.isOver) return
          flight.isUnderWay = true
          if (starting === flight) starting = null
          for (const entry of entries) {
            entry.attempts++
            become(entry, 'sending')
            if (entry.delivery) store?.put(entry, entry.delivery.id, entry.body())
          }
          pump()
        },
      })
      .catch((error: ConnectionError) => error)
    // Given up meanwhile, or posted again: whatever came is nobody's.
    if (flight.isOver) return
    finish(flight)
    if (isBatch) concludeBatch(entries, opened, outcome)
    else for (const entry of entries) conclude(entry, opened, outcome, entries)
    requeue(entries)
    pump()
  }

  function finish(flight: Flight) {
    flight.isOver = true
    if (starting === flight) starting = null
    inFlight--
    for (const entry of flight.entries) entry.flight = undefined
  }

  function requeue(entries: readonly Entry[]) {
    for (const entry of entries) {
      if (isEnded(entry)) continue
      become(entry, 'queued')
      next = head
    }
  }

  /** Ends a POST; what it carried keeps its place. */
  function land(flight: Flight) {
    if (flight.isOver) return
    finish(flight)
    flight.abort.abort()
    if (flight.isUnderWay) for (const entry of flight.entries) entry.isInDoubt = true
    requeue(flight.entries)
    pump()
  }

  /** The POSTs in flight. */
  function flights(): ReadonlySet<Flight> {
    const found = new Set<Flight>()
    for (let entry = head; entry && found.size < inFlight; entry = entry.next) if (entry.flight) found.add(entry.flight)
    return found
  }

  /** `carried` with it, and to be repeated with it. */
  function conclude(entry: Entry, opened: Gate, outcome: unknown, carried: readonly Entry[]) {
    if (isEnded(entry)) return
    if (outcome instanceof ConnectionError) fail(entry, opened, outcome, carried)
    else if (outcome === undefined && opened.features.includes('receipts')) {
      const why = `POST ${entry.endpoint}: a 2xx without JSON, but the server announced receipts`
      fail(entry, opened, new ConnectionError('bad-response', why), carried)
    } else end(entry, { status: 'accepted', receipt: outcome ?? null })
  }

  function concludeBatch(entries: readonly Entry[], opened: Gate, outcome: unknown) {
    if (outcome instanceof ConnectionError && !isFinal(outcome)) {
      // Perhaps it was too much for the time that one POST has.
      if (outcome.code === 'timeout') maxBatch &&= Math.max(1, maxBatch >> 1)
      return fail(entries[0] as Entry, opened, outcome, entries)
    }
    maxBatch = Math.min(MAX_BATCH_MESSAGES, 2 * maxBatch)
    const results = parseResults(outcome)
    let told = 0
    for (const entry of entries) {
      const result = results[told]
      if (!result || result.id !== entry.delivery?.id) break
      const { status, receipt, error, retryAfter } = result
      told++
      // Only alone it can be repeated with fresh headers.
      if (status === 401) {
        entry.isAlone = true
        break
      }
      conclude(entry, opened, /^2/.test(String(status)) ? receipt : toHttpError(status, error, retryAfter), [entry])
    }
    if (told || !maxBatch) return
    maxBatch = 0
    requeue(entries)
    report(outcome instanceof ConnectionError ? outcome : new ConnectionError('bad-response', 'batch: no results'))
  }

  function fail(entry: Entry, opened: Gate, error: ConnectionError, carried: readonly Entry[]) {
    const { status = 0, retryAfter } = error
    const type = STREAM_FACTS[status]
    if (type) {
      if (gate?.connectionId === opened.connectionId) tellMachine({ type, error })
      return
    }
    // What is the library's own has another way, and must not hold up the app's messages.
    if (isFinal(error) || !entry.delivery) {
      // An idempotent server would have said of a repeat what it said of the first.
      const isInDoubt =
        (entry.isInDoubt || (CONFLICTS.includes(status) && error.code !== 'id-reused')) &&
        !opened.features.includes('idempotency')
      return end(entry, { status: isInDoubt ? 'unknown' : 'rejected', error })
    }
    if (!/^4/.test(String(status))) for (const each of carried) each.isInDoubt ||= each.attempts > 0
    const attempt = entry.failures++
    const delay = backoffDelay({ ...backoff, attempt, random, server: { retryAfter } })
    if (delay > left()) {
      lastDelay = delay
      notBefore = clock.now() + delay
    }
    gate?.pause(delay)
    // Last: what a listener sends now stands behind them.
    requeue(carried)
    report(error)
  }

  /** Of the longest wait that a failure asked for. Not more than was drawn: the clock may have been set back. */
  function left() {
    notBefore = Math.min(notBefore, clock.now() + lastDelay)
    return notBefore - clock.now()
  }

  function clear() {
    const opened = gate
    gate = null
    for (const entry of [...unsettled.values()]) giveUp(entry)
    if (!isRetired) store?.clear()
    gate = opened
    pump()
  }

  return {
    enqueue,
    restore,
    /**
     * A POST of the library's own about a session, in line with the app's, if there are still `fields` to post when its
     * turn comes. One of a kind that waits already is enough.
     */
    post(
      type: string,
      sessionId: string,
      fields: () => object | false | undefined,
      settle: Entry['settle'] = () => {},
    ) {
      const kind = `${type} ${sessionId}`
      if (inLine.has(kind)) return
      inLine.add(kind)
      const body = () => {
        inLine.delete(kind)
        const rest = fields()
        return rest ? JSON.stringify({ type, ...rest }) : ''
      }
      insert({
        endpoint: type,
        body,
        bytes: 0,
        expiresAt: Infinity,
        deadline: Infinity,
        settle,
        status: 'queued',
        attempts: 0,
        failures: 0,
        isInDoubt: false,
      })
      queueMicrotask(pump)
    },
    start(opened: Gate) {
      // While the gate is still shut: a pause may be due.
      restore()
      gate = opened
      const old = [...flights()].filter((flight) => flight.gate.connectionId !== opened.connectionId)
      if (stream !== opened.connectionId) maxBatch &&= MAX_BATCH_MESSAGES
      stream = opened.connectionId
      // What the library asked of the dead stream is answered by the resume; what has not left yet leaves on this one.
      for (const flight of old) if (!flight.isUnderWay || !flight.entries[0]?.delivery) land(flight)
      // The answer of a POST on the dead stream may still be on its way; where a repeat does no harm, not for long.
      if (old.length && opened.features.includes('idempotency')) {
        grace = clock.setTimeout(() => old.forEach(land), GRACE)
      }
      const delay = left()
      if (delay > 0) opened.pause(delay)
      else pump()
    },
    stop() {
      gate = null
      clock.clearTimeout(grace)
    },
    /** Ends what is in flight. */
    abort() {
      flights().forEach(land)
    },
    clear,
    /** Nothing is accepted any more; what is stored stays. */
    retire() {
      isRetired = true
      clear()
      store?.release()
    },
    size: () => unsettled.size,
    /** Oldest first. */
    pending(): readonly Delivery[] {
      const deliveries: Delivery[] = []
      for (let entry = head; entry; entry = entry.next) if (entry.delivery) deliveries.push(entry.delivery)
      return deliveries
    },
  }
}

type Ending = Verdict extends infer V ? (V extends Verdict ? Omit<V, 'id' | 'attempts'> : never) : never

/**
 * [spec] RFC 9110 §15.5.10, §15.5.11 and RFC 4918 §11.3: what the state of a resource brings about. Browsers and Deno repeat a POST
 * by themselves when a kept-alive socket is reset, so that state may be the work of the first one.
 */
const CONFLICTS = [409, 410, 423]

/** What a server itself acts on has no place in a batch. */
const POSTED_ALONE = ['watch', 'unwatch', 'suspend']
/** Brackets and field names of one message of a batch, bytes. */
const BATCH_OVERHEAD = 64

const isEnded = ({ status }: Entry) => !/^(queued|sending)$/.test(status)

/** Not worth another try. 410 speaks of a stream only in the answer to a resume. */
const isFinal = ({ retryable, status = 0 }: ConnectionError) => !STREAM_FACTS[status] && (!retryable || status === 410)

/** In UTF-8. */
export const sizeOf = (json: string) => new TextEncoder().encode(json).length

function toJson(message: unknown): string {
  try {
    return (isObject(message) && JSON.stringify(message)) || ''
  } catch {
    return ''
  }
}
