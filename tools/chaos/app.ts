import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { type Connection, createConnection, type Delivery, type DeliveryStatus, type Verdict } from 'holdline'
import { persist } from 'holdline/storage'
import type { Excuse, Heard, History, Sent } from './check'
import { createCounter, type Dice, oneOf, type Random } from './dice'
import { LOST_TYPE, numbersIn } from './line'
import { clock, READERS, type Scenario } from './scenario'

interface Entry extends Sent {
  delivery: Delivery
  excuse: Sent['excuse']
  verdict?: Verdict
}
const PENDING: readonly DeliveryStatus[] = ['queued', 'sending']

/** An app that uses the real client, with its moods, and writes down what it is told. */
export function startApp({ draw, chance }: Dice, scenario: Scenario, url: string, currentToken: () => string) {
  const { sessionIds, maxInFlight, hasStorage, hasTokens, reader } = scenario
  const storage = memoryStorage()
  const sent: Entry[] = []
  const posted: History['posted'][number][] = []
  const heard: { readonly steady: Heard[]; readonly moody: Heard[] } = { steady: [], moody: [] }
  const lifecycle: History['lifecycle'][number][] = []
  const surprises: string[] = []
  const offers = createCounter()
  let token = currentToken()
  let settled = 0
  let lastNews = performance.now()
  let onNews = () => {}
  let connection = open()

  function news() {
    lastNews = performance.now()
    onNews()
  }

  function open(): Connection<Heard> {
    const opened = createConnection<Heard>({
      url,
      clock,
      transport: READERS[reader],
      random: draw('client'),
      backoff: { base: 100, cap: 1_000 },
      outbox: { maxInFlight },
      ...(hasStorage && { storage: persist(storage, { cursors: true }) }),
      ...(hasTokens && {
        async headers({ reason }) {
          if (reason === 'unauthorized') token = currentToken()
          await nextTurn()
          return { authorization: token }
        },
      }),
      fetch(input, init) {
        for (const n of numbersIn(init?.body)) posted.push({ n, phase: opened.phase })
        return fetch(input, init)
      },
    })
    opened.on('opened', () => lifecycle.push('opened'))
    opened.on('closed', () => lifecycle.push('closed'))
    opened.on('phase', () => onNews())
    opened.on('stopped', () => opened.connect())
    opened.on('error', ({ error: { code, message, cause } }) => {
      if (/internal|storage/.test(code)) surprises.push(`${code}: ${message} ${cause}`)
    })
    opened.on('session', ({ sessionId, status }) => {
      if (status !== 'resumed') surprises.push(`session ${sessionId}: ${status}`)
    })
    opened.on('message', ({ sessionId, seq }) => {
      heard.steady.push({ sessionId, seq })
      if (chance(0.0005, 'nervous', sessionId, seq)) opened.reconnect()
    })
    opened.on('message', ({ sessionId, seq }) => {
      const mood = draw('mood', sessionId, seq)()
      // Not three times: then it would be skipped.
      if (offers(`${sessionId} ${seq}`) <= (mood < 0.0005 ? 2 : mood < 0.005 ? 1 : 0)) throw new Error('not now')
      heard.moody.push({ sessionId, seq })
      news()
    })
    for (const sessionId of sessionIds) opened.watch(sessionId)
    opened.connect()
    return opened
  }

  function follow(entry: Entry) {
    const { delivery } = entry
    void delivery.settled.then((verdict) => {
      // After a reload another one speaks for the message.
      if (entry.delivery !== delivery) return
      entry.verdict = verdict
      settled++
      news()
    })
  }

  function cancel(entry: Entry | undefined) {
    if (!entry || !PENDING.includes(entry.delivery.status)) return
    entry.excuse = 'cancelled'
    entry.delivery.cancel()
  }

  /**
   * Whether one of the listeners has heard what the other one has not: a fresh start would tell the
   * first one again.
   */
  const isWaiting = () => heard.steady.length > heard.moody.length

  return {
    get connection() {
      return connection
    },
    sent,
    posted,
    heard,
    lifecycle,
    surprises,
    /** How long ago there was a verdict or an event, real ms. */
    silence: () => performance.now() - lastNews,
    settled: () => settled,
    /** One waits at a time. */
    until: (holds: () => boolean) =>
      new Promise<void>((resolve) => {
        onNews = () => holds() && resolve()
        onNews()
      }),

    /** `fate`: what is known to become of it. */
    send(n: number, fate: Excuse | undefined) {
      const random = draw('send', n)
      const isBrief = random() < 0.01
      const message = {
        type: random() < 0.002 ? LOST_TYPE : random() < 0.9 ? 'send' : 'interrupt',
        ...(random() < 0.9 && { sessionId: oneOf(random, sessionIds) }),
        n,
        ...(fate === 'poisoned' && { isPoison: true }),
        text: 'x'.repeat(random() < 0.005 ? 50_000 : 20),
      }
      const delivery = connection.send(message, {
        ...(random() < 0.5 && { id: `message-${n}` }),
        ...(isBrief && { maxAge: 1 + 4_000 * random() }),
      })
      const lane = message.sessionId
      const entry: Entry = {
        delivery,
        lane,
        excuse: fate ?? (message.type === LOST_TYPE ? 'no endpoint' : isBrief ? 'expired' : undefined),
      }
      sent.push(entry)
      follow(entry)
    },

    /** What an app may do at any moment. */
    acts: {
      async disconnect(random: Random) {
        connection.disconnect()
        if (random() < 0.5) await sleep(10 * random())
        connection.connect()
      },
      reconnect: () => connection.reconnect(),
      wake: (random: Random) => connection.wake({ awayFor: random() < 0.5 ? 0 : 60_000 }),
      suspend: () => connection.suspend(),
      cancel(random: Random) {
        // Rather one of the oldest: those may be in flight.
        const { pending } = connection
        const delivery = pending[Math.floor(pending.length * random() ** 4)]
        cancel(sent.find((entry) => entry.delivery === delivery))
      },
      clearOutbox: () => sent.forEach(cancel),
      async lookAway(random: Random) {
        if (isWaiting()) return
        const sessionId = oneOf(random, sessionIds)
        const after = connection.cursor(sessionId)?.lastSeq ?? 0
        connection.unwatch(sessionId)
        await sleep(10 * random())
        connection.watch(sessionId, { after })
      },
      async reload() {
        if (isWaiting()) return
        connection.dispose()
        connection = open()
        const byId = new Map(connection.pending.map((delivery) => [delivery.id, delivery]))
        for (const entry of sent) {
          const delivery = byId.get(entry.delivery.id)
          if (!delivery) continue
          entry.delivery = delivery
          follow(entry)
        }
      },
    },
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
