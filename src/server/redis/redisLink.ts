import { Redis } from 'ioredis'
import { type Connections, type ConnectionsOptions, guardRepeats, REPLICA_TIMEOUT, SETTINGS } from './link'
import { withRunScripts } from './runScripts'
import { withScripts } from './scripts'
import { type Info, readInfo, refuseEviction } from './serverInfo'

/** How often in a row a replica is left; each time takes at least 50 ms. */
const MAX_REPLICAS = 20

/** The connections of a log that has one primary. */
export function connectRedis(source: string | Redis, options: ConnectionsOptions): Connections {
  const { prefix, ownWriter, onError, onMessage, onLost } = options
  const clients: Redis[] = []
  const open = () => {
    const client = openClient(source, onError)
    clients.push(client)
    return client
  }
  const openScripted = () => withRunScripts(withScripts(open(), 'PUBLISH'), 'PUBLISH')
  const commands = openScripted()
  const writer = ownWriter ? openScripted() : commands
  const subscriber = open()
  const primary = new Primary(commands, subscriber)
  subscriber.on('message', (channel: string, text: string) => onMessage(0, channel, text))
  subscriber.on('ready', () => onLost(new Set([0])))
  const link = {
    prefix,
    commands,
    writer,
    subscriber,
    publish: (channel: string, text: string) => commands.publish(channel, text),
    async receivers(channel: string) {
      const [, count] = await commands.pubsub('NUMSUB', channel)
      return Number(count)
    },
    server: () => primary.id(),
    address: () => '',
    // Right behind what is being written: it counts all of this connection.
    acknowledged: (count: number) => writer.wait(count, REPLICA_TIMEOUT),
  }
  return {
    links: [link],
    forgetServers: () => primary.forget(),
    ping: () => void subscriber.ping().catch(() => {}),
    close: () => {
      for (const client of clients) client.disconnect()
    },
  }
}

function openClient(source: string | Redis, onError: (error: unknown) => void): Redis {
  const settings = {
    ...SETTINGS,
    // A primary that has become a replica: connect anew, to wherever the name leads now, and
    // repeat.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? (2 as const) : false),
  }
  const client = source instanceof Redis ? source.duplicate(settings) : new Redis(source, settings)
  guardRepeats(client)
  tellOnce(client, onError)
  return client
}

/** Each try of a long outage fails with an error of its own. One is told. */
function tellOnce(client: Redis, onError: (error: unknown) => void): void {
  let isTold = false
  client.on('error', (error) => {
    if (!isTold) onError(error)
    isTold = true
  })
  client.on('ready', () => {
    isTold = false
  })
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
    const info = await this.#info()
    refuseEviction(info)
    const id = info('master_replid')
    // Messages that are published there are not heard here.
    if (this.#last !== undefined && id !== this.#last) this.#subscriber.disconnect(true)
    this.#last = id
    return id
  }

  /**
   * A primary that has become a replica answers, but it is another one now that is written to:
   * wherever the name leads.
   */
  async #info(): Promise<Info> {
    for (let left = MAX_REPLICAS; ; left -= 1) {
      const info = await readInfo(this.#commands.info())
      if (info('role') !== 'slave') return info
      if (left === 0) throw new Error('redisLog: Redis is a replica, and must be a primary: replicas take no events')
      this.#commands.disconnect(true)
    }
  }
}
