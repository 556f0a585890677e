import { type Answer, HeldBack, type Upstream } from './adapters/fetchUpstream'
import { ConnectionError } from './errors'
import { backoffDelay } from './machine/backoff'
import type { BackoffPolicy } from './machine/types'
import { type Feature, isObject, RESERVED_TYPES } from './protocol'
import type { Clock, Delivery, DeliveryStatus, OutboundMessage, SendOptions, Verdict } from './types'

/** How long a POST that outlived its stream may hold up the line once it is open again, ms. */
const GRACE = 1_000

/** One period in which POSTs may start. What a POST learns about the stream counts only as long as its gate is the current one. */
export interface Gate {
  readonly features: readonly Feature[]
  /** The head of the line is to be repeated after `delay` ms. */
  pause(delay: number): void
  /** The server does not know the stream. */
  disowned(error: ConnectionError): void
  unauthorized(error: ConnectionError): void
}

export interface OutboxOptions {
  readonly upstream: Upstream
  readonly clock: Clock
  readonly random: () => number
  readonly backoff: BackoffPolicy
  /** For one POST, ms. */
  readonly timeout: number
  /** Message type → endpoint. */
  readonly endpoints: Readonly<Record<string, string>>
  readonly onChange: (delivery: Delivery) => void
}

interface Entry {
  readonly delivery: Delivery
  readonly endpoint: string
  readonly body: string
  /** Wall-clock time, ms. */
  readonly expiresAt: number
  status: DeliveryStatus
  attempts: number
  readonly settle: (verdict: Verdict) => void
}

interface Flight {
  readonly entry: Entry
  readonly gate: Gate
  readonly abort: AbortController
}

export type Outbox = ReturnType<typeof createOutbox>

/** The ordered queue of outbound messages, and what posts it. It outlives every stream. */
export function createOutbox({ upstream, clock, random, backoff, timeout, endpoints, onChange }: OutboxOptions) {
  const unsettled = new Map<string, Entry>()
  // A Map would do for the order too, but taking the first of a Map again and again is not linear.
  let line: Entry[] = []
  let head = 0
  let gate: Gate | null = null
  let flight: Flight | null = null
  let grace: unknown
  let isRetired = false

  function enqueue(message: OutboundMessage, options: SendOptions = {}): Delivery {
    const { id = newId(), maxAge = Number.POSITIVE_INFINITY } = options
    if (!/^[\x21-\x7e]{1,255}$/.test(id)) {
      throw new ConnectionError('invalid-option', 'id: expected 1 to 255 visible ASCII characters, it becomes a header')
    }
    if (!(maxAge > 0)) throw new ConnectionError('invalid-option', 'maxAge: expected a number of ms, above 0')
    if (unsettled.has(id)) throw new ConnectionError('invalid-option', `id: ${id} belongs to an unsettled message`)
    let settle: Entry['settle'] = () => {}
    const settled = new Promise<Verdict>((resolve) => {
      settle = resolve
    })
    const delivery: Delivery = {
      id,
      message,
      settled,
      get status() {
        return entry.status
      },
      cancel() {
        giveUp(entry)
      },
    }
    const entry: Entry = {
      delivery,
      endpoint: (Object.hasOwn(Object(endpoints), message?.type) && endpoints[message.type]) || '',
      body: toJson(message),
      expiresAt: clock.now() + maxAge,
      status: 'queued',
      attempts: 0,
      settle,
    }
    unsettled.set(id, entry)
    if (isRetired) {
      reject(entry, new ConnectionError('disposed', 'the connection was disposed'))
    } else if (!entry.body) {
      reject(entry, new ConnectionError('invalid-message', 'a message must be an object that JSON can carry'))
    } else if (!entry.endpoint || RESERVED_TYPES.includes(message.type)) {
      reject(entry, new ConnectionError('unknown-type', `no endpoint for a message of type ${message.type}`))
    } else {
      line.push(entry)
      onChange(delivery)
      pump()
    }
    return delivery
  }

  function next(): Entry | undefined {
    while (head < line.length) {
      const entry = line[head]
      if (entry && unsettled.has(entry.delivery.id)) {
        if (entry.attempts > 0 || clock.now() < entry.expiresAt) return entry
        reject(entry, new ConnectionError('expired', 'older than its maxAge before it could be sent'))
      }
      head++
      if (head > 1_024 && head * 2 > line.length) {
        line = line.slice(head)
        head = 0
      }
    }
    return undefined
  }

  function pump() {
    if (!gate || flight) return
    const entry = next()
    if (entry) void fly({ entry, gate, abort: new AbortController() })
  }

  async function fly(mine: Flight) {
    const { entry, gate: opened, abort } = mine
    flight = mine
    const outcome = await upstream
      .post({
        endpoint: entry.endpoint,
        body: entry.body,
        idempotencyKey: entry.delivery.id,
        abort,
        timeout,
        mayStart() {
          if (gate !== opened || flight !== mine) return false
          entry.attempts++
          become(entry, 'sending')
          return true
        },
      })
      .catch((error: ConnectionError | HeldBack) => error)
    // Given up meanwhile, or posted again: whatever came is nobody's.
    if (flight !== mine) return
    flight = null
    clock.clearTimeout(grace)
    if (outcome instanceof HeldBack) become(entry, 'queued')
    else if (outcome instanceof ConnectionError) fail(mine, outcome)
    else if (isReceipt(outcome, opened)) end(entry, 'accepted', { receipt: outcome.json })
    else fail(mine, new ConnectionError('bad-response', 'a 2xx without a receipt'))
    pump()
  }

  function fail({ entry, gate: opened }: Flight, error: ConnectionError) {
    const isOurs = error.status === 404 || error.status === 401
    if (!isOurs && (!error.retryable || error.status === 410)) return reject(entry, error)
    become(entry, 'queued')
    if (gate !== opened) return
    if (error.status === 404) opened.disowned(error)
    else if (error.status === 401) opened.unauthorized(error)
    else {
      const attempt = Math.max(0, entry.attempts - 1)
      const { retryAfter } = error
      opened.pause(backoffDelay({ ...backoff, attempt, random, server: { retryAfter } }))
    }
  }

  function become(entry: Entry, status: DeliveryStatus) {
    if (entry.status === status) return
    entry.status = status
    onChange(entry.delivery)
  }

  function end(entry: Entry, status: Verdict['status'], details: { receipt: unknown } | { error: ConnectionError }) {
    const { id } = entry.delivery
    if (!unsettled.delete(id)) return
    become(entry, status)
    entry.settle({ status, id, attempts: entry.attempts, ...details } as Verdict)
  }

  const reject = (entry: Entry, error: ConnectionError) => end(entry, 'rejected', { error })

  function giveUp(entry: Entry) {
    const error = new ConnectionError('cancelled', 'given up before an answer came')
    end(entry, entry.attempts > 0 ? 'unknown' : 'rejected', { error })
    if (flight?.entry === entry) land()
    pump()
  }

  function clear() {
    for (const entry of [...unsettled.values()]) giveUp(entry)
  }

  /** Ends the POST in flight, if there is one; its message keeps its place. */
  function land() {
    const landed = flight
    flight = null
    clock.clearTimeout(grace)
    landed?.abort.abort()
    if (landed && unsettled.has(landed.entry.delivery.id)) become(landed.entry, 'queued')
  }

  return {
    enqueue,
    start(opened: Gate) {
      gate = opened
      // The answer of a POST on the dead stream may still be on its way; where a repeat does no harm, not for long.
      if (flight && opened.features.includes('idempotency')) {
        grace = clock.setTimeout(() => {
          land()
          pump()
        }, GRACE)
      }
      pump()
    },
    stop() {
      gate = null
      clock.clearTimeout(grace)
    },
    abort: land,
    clear,
    /** Nothing is accepted any more. */
    retire() {
      isRetired = true
      clear()
    },
    get size() {
      return unsettled.size
    },
    pending: (): readonly Delivery[] => Array.from(unsettled.values(), ({ delivery }) => delivery),
  }
}

function isReceipt({ readable, isHtml }: Answer, { features }: Gate) {
  return readable || !(isHtml || features.includes('receipts'))
}

function toJson(message: unknown): string {
  try {
    return (isObject(message) && JSON.stringify(message)) || ''
  } catch {
    return ''
  }
}

// Not crypto.randomUUID: browsers have that on secure origins only.
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
