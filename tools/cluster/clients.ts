import { setTimeout as sleep } from 'node:timers/promises'
import { type Connection, createConnection } from 'holdline'
import { eventSourceTransport, fetchStreamTransport } from 'holdline/adapters'
import { createDice, type Dice, oneOf, type Random } from '../chaos/dice'
import type { Command, Heard, Life } from './check'
import { tell } from './runs'

interface Said {
  readonly type: string
  readonly sessionId: string
  readonly seq: number
  readonly epoch: string
  readonly what?: string
  readonly run?: string
  readonly reason?: string
}
export interface ClientsOptions {
  readonly count: number
  readonly seed: number
  readonly ports: readonly number[]
  /** Each client begins somewhere before this event. */
  readonly history: number
}

/** So many clients share a session. Each has one of its own, too. */
const SHARED_BY = 40
export const sharedOf = (client: number, count: number) => `shared-${client % Math.ceil(count / SHARED_BY)}`
export const sessionsOf = (client: number, count: number) => [
  sharedOf(client, count),
  `own-${client}`,
  runSessionOf(client),
]
/** In these nothing but runs is said. */
const RUN_SESSIONS = 40
const RUN_LENGTH = 20
const runSessionOf = (client: number) => `runs-${client % RUN_SESSIONS}`
export const isOfRuns = (sessionId: string) => sessionId.startsWith('runs-')

/** About how long a client waits between two messages, ms. */
const PAUSE = 2_000
/** Of 1,000 messages, so many are followed by a fresh stream. */
const RESTLESS = 20
const PLACEHOLDER = 'http://cluster'

/** Real clients, all in this process, and what they are told. Another process calls the methods. */
export class Clients {
  readonly #options: ClientsOptions
  readonly #dice: Dice
  readonly #connections: readonly Connection<Said>[]
  readonly #commands: Writable<Command>[] = []
  readonly #lives = new Map<string, OwnLife[]>()
  readonly #heard: Heard[] = []
  readonly #surprises: string[] = []
  /** Answers by what they were, and lost lines by why. */
  readonly #counts: Record<string, number> = {}
  /** Indices of `ports`: where a stream can be opened. */
  #up: readonly number[]
  #settled = 0
  #events = 0
  #isOver = false

  constructor(options: ClientsOptions) {
    this.#options = options
    this.#dice = createDice(options.seed)
    this.#up = [...options.ports.keys()]
    this.#connections = Array.from({ length: options.count }, (_, client) => this.#start(client))
  }

  readonly reach = (indices: readonly number[]) => {
    this.#up = indices
  }

  readonly talk = () => {
    for (const [client, connection] of this.#connections.entries()) void this.#talk(client, connection)
  }

  readonly hush = () => {
    this.#isOver = true
  }

  readonly reconnect = () => {
    for (const connection of this.#connections) connection.reconnect()
  }

  readonly look = () => ({
    sent: this.#commands.length,
    settled: this.#settled,
    events: this.#events,
    open: this.#connections.filter(({ isOpen }) => isOpen).length,
  })

  /** Whether everybody has applied what the sessions have. */
  readonly haveReached = (heads: Readonly<Record<string, number>>) =>
    this.#connections.every(({ cursors }) =>
      cursors.every(({ sessionId, lastSeq }) => lastSeq >= (heads[sessionId] ?? 0)),
    )

  /** Of those that are not through, for whoever has to find out why. */
  readonly complaints = () =>
    this.#connections.flatMap(({ phase, pending, cursors, lastError, trace }, client) => {
      const steps = JSON.stringify(trace().steps.slice(-8))
      const told = `${phase}, ${pending.length} messages, ${JSON.stringify(cursors)}: ${lastError} ${steps}`
      return phase === 'open' && pending.length === 0 ? [] : [`client ${client}: ${told}`]
    })

  readonly result = () => ({
    commands: this.#commands,
    heard: this.#heard,
    counts: this.#counts,
    surprises: this.#surprises,
  })

  #start(client: number): Connection<Said> {
    const { count, ports, history } = this.#options
    const random = this.#dice.draw('client', client)
    const connection = createConnection<Said>({
      url: `${PLACEHOLDER}/api/chat`,
      transport: client % 2 ? fetchStreamTransport : eventSourceTransport,
      headers: { authorization: `client-${client}` },
      fetch: unkindBalancer({ ports, up: () => this.#up, random, tally: (what) => this.#tally(what) }),
      random,
      backoff: { base: 200, cap: 2_000 },
    })
    for (const sessionId of sessionsOf(client, count)) {
      const after = Math.floor(random() * history)
      const lives: OwnLife[] = [{ after, events: [] }]
      this.#lives.set(`${client} ${sessionId}`, lives)
      this.#heard.push({ client, sessionId, lives })
      connection.watch(sessionId, { after })
    }
    this.#listen(client, connection)
    connection.connect()
    return connection
  }

  #listen(client: number, connection: Connection<Said>) {
    const surprise = (what: string) => void this.#surprises.push(`client ${client}${what}`)
    connection.on('message', (message) => {
      const { sessionId, seq, epoch } = message
      const life = this.#lives.get(`${client} ${sessionId}`)?.at(-1)
      if (!life) return surprise(` heard something of ${sessionId}`)
      life.epoch ??= epoch
      if (epoch !== life.epoch) surprise(` was told of no reset of ${sessionId}`)
      life.events.push(`${seq} ${tell({ ...message })}`)
      this.#events += 1
    })
    connection.on('session', ({ sessionId, status, to }) => {
      this.#tally(`session: ${status}`)
      if (status === 'reset') this.#lives.get(`${client} ${sessionId}`)?.push({ after: to, events: [] })
      else if (status !== 'resumed') surprise(`, session ${sessionId}: ${status}`)
    })
    connection.on('closed', ({ reason }) => this.#tally(`line closed: ${reason}`))
    connection.on('stopped', ({ error }) => surprise(` has stopped: ${error.message}`))
    connection.on('error', ({ error }) => {
      if (/internal|bad-message|poison/.test(error.code)) surprise(`: ${error.message}`)
    })
  }

  async #talk(client: number, connection: Connection<Said>) {
    const random = this.#dice.draw('talk', client)
    for (let n = 1; ; n++) {
      await sleep(2 * PAUSE * random(), undefined, { ref: false })
      if (this.#isOver) return
      const sessionId = oneOf(random, sessionsOf(client, this.#options.count))
      // One event, or three, in the middle of which a node may die.
      const isRun = isOfRuns(sessionId)
      const length = isRun ? RUN_LENGTH : random() < 0.5 ? 3 : 1
      const whats = Array.from({ length }, (_, part) => `c${client}.${n}.${part}`)
      const command: Writable<Command> = { client, sessionId, whats, isRun }
      this.#commands.push(command)
      void connection.send({ type: 'send', sessionId, n, whats, isRun }).settled.then((verdict) => {
        command.verdict = verdict
        this.#settled += 1
      })
      if (1_000 * random() < RESTLESS) connection.reconnect()
    }
  }

  #tally(what: string) {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1
  }
}

type OwnLife = Writable<Life> & { readonly events: string[] }
type Writable<T> = { -readonly [Key in keyof T]: T[Key] }

interface BalancerOptions {
  readonly ports: readonly number[]
  readonly random: Random
  up(): readonly number[]
  tally(what: string): void
}

/** A stream goes to any node that is up. A POST goes to another one, whether that is up or not. */
function unkindBalancer({ ports, up, random, tally }: BalancerOptions): typeof fetch {
  let home = 0
  return async (input, init) => {
    const isPost = init?.method === 'POST'
    if (!isPost) home = oneOf(random, up()) ?? home
    const others = [...ports.keys()].filter((index) => index !== home)
    const target = isPost ? (oneOf(random, others) ?? home) : home
    const url = String(input).replace(PLACEHOLDER, `http://127.0.0.1:${ports[target]}`)
    const name = isPost ? `POST ${url.split('/').pop()}` : 'stream'
    try {
      const response = await fetch(url, init)
      tally(`${name}: ${response.status}`)
      return response
    } catch (error) {
      tally(`${name}: no answer`)
      throw error
    }
  }
}
