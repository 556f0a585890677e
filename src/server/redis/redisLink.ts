import { Redis } from 'ioredis'
import { type RunScripts, withRunScripts } from './runScripts'
import { type Scripts, withScripts } from './scripts'

export interface RedisLink {
  readonly commands: Redis & Scripts & RunScripts
  /**
   * Where `WAIT` holds up nothing but other appends; `commands`, if no append waits for replicas.
   */
  readonly writer: Redis & Scripts & RunScripts
  readonly subscriber: Redis
  /**
   * Which server it is that holds the data, in its present life. @throws if it may evict what it
   * holds
   */
  server(): Promise<string>
  /** Asks anew: a replica can be promoted under a connection. */
  forgetServer(): void
  close(): void
}

/** ms. A command is repeated over reconnects until then. */
const COMMAND_TIMEOUT = 5_000

/** How often in a row a replica is left; each time takes at least 50 ms. */
const MAX_REPLICAS = 20

const SETTINGS = {
  lazyConnect: true,
  commandTimeout: COMMAND_TIMEOUT,
  // By time, and not by tries: these take about as long. What has been waiting in a longer outage
  // is then let go.
  maxRetriesPerRequest: 12,
  // A connection can die without a word.
  socketTimeout: COMMAND_TIMEOUT,
  // After a reconnect the subscribers have to read what they missed, so they subscribe anew
  // themselves.
  autoResubscribe: false,
  // A primary that has become a replica: connect anew, to wherever the name leads now, and repeat.
  reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? (2 as const) : false),
  // A client that is handed in may be set up in another way.
  enableOfflineQueue: true,
  stringNumbers: false,
}

/** The connections of one log. None is made before it is needed. */
export function createRedisLink(
  source: string | Redis,
  { ownWriter, onError }: { readonly ownWriter: boolean; onError(error: unknown): void },
): RedisLink {
  const clients: Redis[] = []
  const open = () => {
    const client = openClient(source, onError)
    clients.push(client)
    return client
  }
  const openScripted = () => withRunScripts(withScripts(open()))
  const commands = openScripted()
  const writer = ownWriter ? openScripted() : commands
  const subscriber = open()
  const primary = new Primary(commands, subscriber)
  return {
    commands,
    writer,
    subscriber,
    server: () => primary.id(),
    forgetServer: () => primary.forget(),
    close: () => {
      for (const client of clients) client.disconnect()
    },
  }
}

function openClient(source: string | Redis, onError: (error: unknown) => void): Redis {
  const client = source instanceof Redis ? source.duplicate(SETTINGS) : new Redis(source, SETTINGS)
  // ioredis keeps what has timed out and sends it with the next connection: much too late, and
  // after the caller has given up.
  const { sendCommand } = client
  client.sendCommand = (command, stream) =>
    command.isSettled ? command.promise : sendCommand.call(client, command, stream)
  // Each try of a long outage fails with an error of its own. One is told.
  let isTold = false
  client.on('error', (error) => {
    if (!isTold) onError(error)
    isTold = true
  })
  client.on('ready', () => {
    isTold = false
  })
  return client
}

/** Which server it is that holds the data, in its present life. */
class Primary {
  readonly #commands: Redis
  readonly #subscriber: Redis
  /**
   * `asking`: the answer comes from wherever the connection is then, so a reconnect meanwhile says
   * nothing.
   */
  #state: 'unknown' | 'asking' | 'known' = 'unknown'
  #id: Promise<string> = Promise.resolve('')
  /** The one that was asked last. */
  #last: string | undefined

  constructor(commands: Redis, subscriber: Redis) {
    this.#commands = commands
    this.#subscriber = subscriber
    commands.on('close', () => this.forget())
  }

  id(): Promise<string> {
    if (this.#state !== 'unknown') return this.#id
    this.#state = 'asking'
    this.#id = this.#ask()
    this.#id.then(
      () => {
        this.#state = 'known'
      },
      () => {
        this.#state = 'unknown'
      },
    )
    return this.#id
  }

  forget(): void {
    if (this.#state === 'known') this.#state = 'unknown'
  }

  async #ask(): Promise<string> {
    const field = await this.#info()
    const policy = field('maxmemory_policy')
    if (Number(field('maxmemory')) > 0 && policy !== 'noeviction') {
      throw new Error(`redisLog: Redis must not evict: its maxmemory-policy is '${policy}', and must be 'noeviction'`)
    }
    const id = field('master_replid')
    // Messages that are published there are not heard here.
    if (this.#last !== undefined && id !== this.#last) this.#subscriber.disconnect(true)
    this.#last = id
    return id
  }

  /**
   * A primary that has become a replica answers, but it is another one now that is written to:
   * wherever the name leads.
   */
  async #info() {
    for (let left = MAX_REPLICAS; ; left -= 1) {
      const info = await this.#commands.info().catch((cause: Error) => {
        throw new Error(`redisLog: Redis does not answer (${cause.message})`, { cause })
      })
      const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
      if (field('role') !== 'slave') return field
      if (left === 0) throw new Error('redisLog: Redis is a replica, and must be a primary: replicas take no events')
      this.#commands.disconnect(true)
    }
  }
}
