import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAdaptorServer } from '@hono/node-server'
import { type ChatServer, createChatServer, type SessionLog } from 'holdline/server'
import { cpuTime, now } from './measure'
import { answer, type Call } from './remote'

export interface LoadEvent {
  readonly type: 'load'
  /** The events of a session are numbered by their producer, from 1. */
  readonly n: number
  /** When it was published, as in `now()`. */
  readonly at: number
  readonly text: string
}

export interface Order {
  readonly sessions: readonly string[]
  /** Events per second, of all these sessions together. */
  readonly rate: number
  readonly seconds: number
}

export interface Production {
  readonly published: number
  readonly failed: number
  /** ms, once it is done. */
  readonly took: number
  readonly isDone: boolean
}

/** What a node can be asked from outside, beside the chat. */
export interface NodeControl {
  /** Bytes that stay, after a collection where there is one to be had. */
  rss(): Promise<number>
  /** µs of this process. */
  cpu(): number
  produce(order: Order): void
  look(): Production
  /** How many events each session was sent. */
  sent(): Readonly<Record<string, number>>
}

/** ms. Between two of them the events are saved up. */
const TICK = 5
/** About a line of text. */
const TEXT = 'lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor'

/** Publishes to the sessions of an order, as agents would. */
class Producer {
  /** How many events each session was sent. */
  readonly sent: Record<string, number> = {}
  readonly #publish: ChatServer['publish']
  #published = 0
  #failed = 0
  #took = 0
  #isDone = true

  constructor(publish: ChatServer['publish']) {
    this.#publish = publish
  }

  look(): Production {
    return { published: this.#published, failed: this.#failed, took: this.#took, isDone: this.#isDone }
  }

  async produce({ sessions, rate, seconds }: Order) {
    this.#isDone = false
    const total = Math.round(rate * seconds)
    const startedAt = now()
    /**
     * The last event of each session: the next one waits for it, so that their numbers are in order
     * in any log.
     */
    const tails = new Map<string, Promise<unknown>>()
    let due = startedAt
    for (let next = 0; next < total; ) {
      await sleep(TICK)
      // A tick that comes late makes its events late: they were due then.
      const at = Math.min(now(), due + TICK)
      due = now()
      for (const end = Math.min(total, ((due - startedAt) / 1_000) * rate); next < end; next += 1) {
        const sessionId = sessions[next % sessions.length] ?? ''
        const tail = tails.get(sessionId)
        tails.set(sessionId, tail ? tail.then(() => this.#say(sessionId, at)) : this.#say(sessionId, at))
      }
    }
    await Promise.all(tails.values())
    this.#took = now() - startedAt
    this.#isDone = true
  }

  async #say(sessionId: string, at: number) {
    const n = (this.sent[sessionId] ?? 0) + 1
    this.sent[sessionId] = n
    try {
      await this.#publish(sessionId, { type: 'load', n, at, text: TEXT } satisfies LoadEvent)
      this.#published += 1
    } catch {
      this.sent[sessionId] = n - 1
      this.#failed += 1
    }
  }
}

/** One process of a chat server, and what produces events in it. */
export async function startNode({ log, port = 0, host }: { log: SessionLog; port?: number; host?: string }) {
  const chat = createChatServer({
    log,
    authenticate: (request) => ({ id: request.headers.get('Authorization') ?? 'nobody' }),
    authorize: () => true,
    onCommand: () => null,
  })
  const producer = new Producer(chat.publish)
  const control: NodeControl = {
    rss: settledRss,
    cpu: cpuTime,
    produce: (order) => void producer.produce(order),
    look: () => producer.look(),
    sent: () => producer.sent,
  }
  const server = createAdaptorServer({
    fetch: async (request) =>
      new URL(request.url).pathname === '/load'
        ? Response.json((await answer(control, (await request.json()) as Call)) ?? null)
        : chat.fetch(request),
  })
  server.listen(port, host)
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      const closed = once(server, 'close')
      await chat.close()
      server.close()
      if ('closeAllConnections' in server) server.closeAllConnections()
      await closed
    },
  }
}

async function settledRss(): Promise<number> {
  for (let look = 0; look < 5; look += 1) {
    global.gc?.()
    await sleep(50)
  }
  return process.memoryUsage.rss()
}
