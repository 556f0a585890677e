import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { type Connection, createConnection, type Delivery, type DeliveryStatus, type Verdict } from 'holdline'
import { persist } from 'holdline/storage'
import type { Excuse, Heard, History, Sent } from './check'
import { createCounter, type Dice, oneOf } from './dice'
import { promptOf } from './foreign'
import { LOST_TYPE, numbersIn } from './line'
import { clock, READERS, type Scenario } from './scenario'

export interface ChaosAppOptions {
  readonly dice: Dice
  readonly scenario: Scenario
  readonly url: string
  currentToken(): string
}
interface Entry extends Sent {
  delivery: Delivery
  excuse: Sent['excuse']
  verdict?: Verdict
}
const PENDING: readonly DeliveryStatus[] = ['queued', 'sending']

/** An app that uses the real client, with its moods, and writes down what it is told. */
export class ChaosApp {
  readonly sent: Entry[] = []
  readonly posted: History['posted'][number][] = []
  readonly heard: { readonly steady: Heard[]; readonly moody: Heard[] } = { steady: [], moody: [] }
  readonly lifecycle: History['lifecycle'][number][] = []
  readonly surprises: string[] = []
  readonly #options: ChaosAppOptions
  readonly #storage = memoryStorage()
  readonly #offers = createCounter()
  #connection: Connection<Heard>
  #token: string
  #settled = 0
  #lastNews = performance.now()
  #onNews = () => {}

  constructor(options: ChaosAppOptions) {
    this.#options = options
    this.#token = options.currentToken()
    this.#connection = this.#open()
  }

  /** Another one after each reload. */
  get connection(): Connection<Heard> {
    return this.#connection
  }

  /** How many messages have their verdict. */
  get settled(): number {
    return this.#settled
  }

  /** How long ago there was a verdict or an event, real ms. */
  get silence(): number {
    return performance.now() - this.#lastNews
  }

  /** One waits at a time. */
  until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#onNews = () => holds() && resolve()
      this.#onNews()
    })
  }

  /** `fate`: what is known to become of it. */
  send(n: number, fate: Excuse | undefined) {
    const { dice, scenario } = this.#options
    const random = dice.draw('send', n)
    const isForeign = scenario.server === 'foreign'
    const isBrief = random() < 0.01
    const message = {
      type: random() < 0.002 ? LOST_TYPE : random() < 0.9 || isForeign ? 'send' : 'interrupt',
      ...((random() < 0.9 || isForeign) && { sessionId: oneOf(random, scenario.sessionIds) }),
      n,
      // A prompt that is no text is refused.
      ...(isForeign && { prompt: fate === 'refused by the server' ? n : promptOf(n) }),
      ...(fate === 'poisoned' && { isPoison: true }),
      text: 'x'.repeat(random() < 0.005 ? 50_000 : 20),
    }
    const delivery = this.#connection.send(message, {
      ...(random() < 0.5 && { id: `message-${n}` }),
      ...(isBrief && { maxAge: 1 + 4_000 * random() }),
    })
    const excuse = fate ?? (message.type === LOST_TYPE ? 'no endpoint' : isBrief ? 'expired' : undefined)
    const entry: Entry = { delivery, lane: message.sessionId, excuse }
    this.sent.push(entry)
    this.#follow(entry)
  }

  cancel(entry: Entry | undefined) {
    if (!entry || !PENDING.includes(entry.delivery.status)) return
    entry.excuse = 'cancelled'
    entry.delivery.cancel()
  }

  /** Leaves a session for so long, ms, and comes back to it where it was. */
  async lookAway(sessionId: string, ms: number) {
    const after = this.#connection.cursor(sessionId)?.lastSeq ?? 0
    this.#connection.unwatch(sessionId)
    await sleep(ms)
    this.#connection.watch(sessionId, { after })
  }

  reload() {
    this.#connection.dispose()
    this.#connection = this.#open()
    const byId = new Map(this.#connection.pending.map((delivery) => [delivery.id, delivery]))
    for (const entry of this.sent) {
      const delivery = byId.get(entry.delivery.id)
      if (!delivery) continue
      entry.delivery = delivery
      this.#follow(entry)
    }
  }

  /**
   * Whether one of the listeners has heard what the other one has not: a fresh start would tell the
   * first one again.
   */
  get isWaiting(): boolean {
    return this.heard.steady.length > this.heard.moody.length
  }

  #open(): Connection<Heard> {
    const { dice, scenario, url } = this.#options
    const { sessionIds, maxInFlight, hasStorage, hasTokens, reader } = scenario
    const opened = createConnection<Heard>({
      url,
      clock,
      transport: READERS[reader],
      random: dice.draw('client'),
      backoff: { base: 100, cap: 1_000 },
      outbox: { maxInFlight },
      ...(hasStorage && { storage: persist(this.#storage, { cursors: true }) }),
      ...(hasTokens && { headers: ({ reason }) => this.#headers(reason) }),
      fetch: (input, init) => {
        for (const n of numbersIn(init?.body)) this.posted.push({ n, phase: opened.phase })
        return fetch(input, init)
      },
    })
    this.#listen(opened)
    for (const sessionId of sessionIds) opened.watch(sessionId)
    opened.connect()
    return opened
  }

  async #headers(reason: string) {
    if (reason === 'unauthorized') this.#token = this.#options.currentToken()
    await nextTurn()
    return { authorization: this.#token }
  }

  #listen(opened: Connection<Heard>) {
    opened.on('opened', () => this.lifecycle.push('opened'))
    opened.on('closed', () => this.lifecycle.push('closed'))
    opened.on('phase', () => this.#onNews())
    opened.on('stopped', () => opened.connect())
    opened.on('error', ({ error: { code, message, cause } }) => {
      if (/internal|storage/.test(code)) this.surprises.push(`${code}: ${message} ${cause}`)
    })
    opened.on('session', ({ sessionId, status }) => {
      if (status !== 'resumed') this.surprises.push(`session ${sessionId}: ${status}`)
    })
    opened.on('message', ({ sessionId, seq }) => {
      this.heard.steady.push({ sessionId, seq })
      if (this.#options.dice.chance(0.0005, 'nervous', sessionId, seq)) opened.reconnect()
    })
    opened.on('message', (message) => this.#hearMoodily(message))
  }

  #hearMoodily({ sessionId, seq }: Heard) {
    const mood = this.#options.dice.draw('mood', sessionId, seq)()
    // Not three times: then it would be skipped.
    if (this.#offers(`${sessionId} ${seq}`) <= (mood < 0.0005 ? 2 : mood < 0.005 ? 1 : 0)) throw new Error('not now')
    this.heard.moody.push({ sessionId, seq })
    this.#news()
  }

  #follow(entry: Entry) {
    const { delivery } = entry
    void delivery.settled.then((verdict) => {
      // After a reload another one speaks for the message.
      if (entry.delivery !== delivery) return
      entry.verdict = verdict
      this.#settled++
      this.#news()
    })
  }

  #news() {
    this.#lastNews = performance.now()
    this.#onNews()
  }
}

function memoryStorage() {
  const entries = new Map<string, string>()
  return {
    get length() {
      return entries.size
    },
    key: (index: number) => [...entries.keys()][index] ?? null,
    getItem: (key: string) => entries.get(key) ?? null,
    setItem: (key: string, value: string) => void entries.set(key, value),
    removeItem: (key: string) => void entries.delete(key),
  }
}
