import type { Upstream } from './adapters/fetchUpstream'
import { ConnectionError } from './errors'
import { backoffDelay } from './machine/backoff'
import type { UpstreamEvent } from './machine/types'
import type { Settings } from './options'
import { isObject, RESERVED_TYPES } from './protocol'
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
  /** What the server announced. */
  readonly features: readonly string[]
  /** The head of the line is to be repeated after `delay` ms. */
  pause(delay: number): void
}

interface Entry {
  readonly endpoint: string
  /** JSON; empty if there is no need to post it any more. */
  readonly body: () => string
  /** Wall-clock time, ms. */
  readonly expiresAt: number
  settle: (verdict: Verdict) => void
  status: DeliveryStatus
  attempts: number
  /** None, if the library itself posts it. */
  delivery?: Delivery
  next?: Entry
}

export type Outbox = ReturnType<typeof createOutbox>

/** The ordered queue of what goes up, and what posts it. It outlives every stream. */
export function createOutbox(
  { clock, random, backoff, timeouts, endpoints }: Settings,
  upstream: Upstream,
  onChange: (delivery: Delivery) => void,
  tellMachine: (fact: UpstreamEvent) => void,
  report: (error: ConnectionError) => void,
) {
  /** The app's messages without a verdict, oldest first. */
  const unsettled = new Map<string, Delivery>()
  // The line is a linked list, because taking the first of an array or a Map again and again is not linear.
  let head: Entry | undefined
  let tail: Entry | undefined
  let gate: Gate | null = null
  /** The POST in flight, and what it posts. */
  let flight: AbortController | null = null
  let posted: Entry | undefined
  let grace: unknown
  let isRetired = false
  /** The library's own POSTs that wait for their turn. */
  const inLine = new Set<string>()
  /** No POST starts before this wall-clock time: what the last failure asked for outlives the gate. */
  let notBefore = 0
  let lastDelay = 0

  function enqueue(message: Typed, { id = newId(), maxAge = Infinity }: SendOptions = {}): Delivery {
    if (!/^[!-~]{1,255}$/.test(id) || unsettled.has(id)) {
      throw new ConnectionError('invalid-option', 'id: in use, or not 1-255 visible ASCII characters')
    }
    if (!(maxAge > 0)) throw new ConnectionError('invalid-option', 'maxAge: not > 0')
    const json = toJson(message)
    const type = String(message?.type)
    const endpoint = Object.hasOwn(endpoints, type) && !RESERVED_TYPES.includes(type) && endpoints[type]
    const entry = append(endpoint || '', () => json, clock.now() + maxAge)
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
    unsettled.set(id, delivery)
    onChange(delivery)
    if (isRetired) reject(entry, new ConnectionError('disposed'))
    else if (!json) reject(entry, new ConnectionError('invalid-message'))
    else if (!endpoint) reject(entry, new ConnectionError('unknown-type', `no endpoint for ${type}`))
    else pump()
    return delivery
  }

  function append(endpoint: string, body: Entry['body'], expiresAt = Infinity): Entry {
    const entry: Entry = { endpoint, body, expiresAt, settle() {}, status: 'queued', attempts: 0 }
    if (head && tail) tail.next = entry
    else head = entry
    tail = entry
    return entry
  }

  async function pump() {
    if (!gate || flight) return
    for (; head; head = head.next) {
      if (isEnded(head)) continue
      if (!head.attempts && clock.now() >= head.expiresAt) reject(head, new ConnectionError('expired'))
      else if (head.body()) break
    }
    if (!head) return
    const entry = head
    const opened = gate
    const mine = new AbortController()
    flight = mine
    posted = entry
    const outcome = await upstream
      .post(entry.endpoint, entry.body(), mine, {
        timeout: timeouts.send,
        idempotencyKey: entry.delivery?.id,
        onStart() {
          if (flight === mine && gate !== opened) abort()
          if (flight !== mine) return
          entry.attempts++
          become(entry, 'sending')
        },
      })
      .catch((error: unknown) => error)
    // Given up meanwhile, or posted again: whatever came is nobody's.
    if (flight !== mine) return
    flight = null
    clock.clearTimeout(grace)
    if (outcome instanceof ConnectionError) fail(entry, opened, outcome)
    else if (outcome === undefined && opened.features.includes('receipts')) {
      fail(entry, opened, new ConnectionError('bad-response'))
    } else end(entry, { status: 'accepted', receipt: outcome ?? null })
    pump()
  }

  function fail(entry: Entry, opened: Gate, error: ConnectionError) {
    const { status = 0, retryAfter } = error
    const type = STREAM_FACTS[status]
    // What is the library's own has another way, and must not hold up the app's messages.
    if (!type && (!error.retryable || status === 410 || !entry.delivery)) return reject(entry, error)
    become(entry, 'queued')
    if (type) {
      if (gate === opened) tellMachine({ type, error })
      return
    }
    report(error)
    const attempt = Math.max(0, entry.attempts - 1)
    const delay = backoffDelay({ ...backoff, attempt, random, server: { retryAfter } })
    lastDelay = delay
    notBefore = clock.now() + delay
    gate?.pause(delay)
  }

  function become(entry: Entry, status: DeliveryStatus) {
    if (entry.status === status) return
    entry.status = status
    if (entry.delivery) onChange(entry.delivery)
  }

  function end(entry: Entry, outcome: Ending) {
    if (isEnded(entry)) return
    const { attempts, delivery: { id } = { id: '' } } = entry
    become(entry, outcome.status)
    unsettled.delete(id)
    entry.settle({ ...outcome, id, attempts })
  }

  const reject = (entry: Entry, error: ConnectionError) => end(entry, { status: 'rejected', error })

  function giveUp(entry: Entry) {
    end(entry, { status: entry.attempts ? 'unknown' : 'rejected', error: new ConnectionError('cancelled') })
    if (posted === entry) abort()
  }

  function clear() {
    for (const { cancel } of [...unsettled.values()]) cancel()
  }

  /** Ends the POST in flight, if there is one; its message keeps its place. */
  function abort() {
    clock.clearTimeout(grace)
    if (!flight || !posted) return
    flight.abort()
    flight = null
    if (!isEnded(posted)) become(posted, 'queued')
    pump()
  }

  return {
    enqueue,
    /**
     * A POST of the library's own about a session, in line with the app's, if there are still `fields` to post when its
     * turn comes. One of a kind that waits already is enough.
     */
    post(type: string, sessionId: string, fields: () => object | false | undefined, settle?: Entry['settle']) {
      const kind = `${type} ${sessionId}`
      if (inLine.has(kind)) return
      inLine.add(kind)
      const entry = append(type, () => {
        inLine.delete(kind)
        const rest = fields()
        return rest ? JSON.stringify({ type, ...rest }) : ''
      })
      if (settle) entry.settle = settle
      queueMicrotask(pump)
    },
    start(opened: Gate) {
      // What the library asked of the dead stream is answered by the resume.
      if (!posted?.delivery) abort()
      gate = opened
      // The answer of a POST on the dead stream may still be on its way; where a repeat does no harm, not for long.
      if (flight && opened.features.includes('idempotency')) grace = clock.setTimeout(abort, GRACE)
      // Not more than was drawn: the clock may have been set back.
      notBefore = Math.min(notBefore, clock.now() + lastDelay)
      const left = notBefore - clock.now()
      if (left > 0) opened.pause(left)
      else pump()
    },
    stop() {
      gate = null
      clock.clearTimeout(grace)
    },
    abort,
    clear,
    /** Nothing is accepted any more. */
    retire() {
      isRetired = true
      clear()
    },
    size: () => unsettled.size,
    pending: (): readonly Delivery[] => [...unsettled.values()],
  }
}

type Ending = Verdict extends infer V ? (V extends Verdict ? Omit<V, 'id' | 'attempts'> : never) : never

const isEnded = ({ status }: Entry) => !/^(queued|sending)$/.test(status)

function toJson(message: unknown): string {
  try {
    return (isObject(message) && JSON.stringify(message)) || ''
  } catch {
    return ''
  }
}

// Not crypto.randomUUID: browsers have that on secure origins only.
const newId = () =>
  crypto.getRandomValues(new Uint8Array(16)).reduce((id, byte) => id + byte.toString(16).padStart(2, '0'), '')
