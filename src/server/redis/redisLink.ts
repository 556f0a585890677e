import { Redis } from 'ioredis'
import { type Scripts, withScripts } from './scripts'

export interface RedisLink {
  readonly commands: Redis & Scripts
  /** Where `WAIT` holds up nothing but other appends; `commands`, if nobody waits. */
  readonly writer: Redis & Scripts
  readonly subscriber: Redis
  /** Which server it is that holds the data, in its present life. @throws if it may evict what it holds */
  server(): Promise<string>
  /** Asks anew: a replica can be promoted under a connection. */
  forgetServer(): void
  close(): void
}

/** ms. A command is repeated over reconnects until then. */
const COMMAND_TIMEOUT = 5_000

/** The connections of one log. None is made before it is needed. */
export function createRedisLink(
  source: string | Redis,
  { ownWriter, onError }: { readonly ownWriter: boolean; onError(error: unknown): void },
): RedisLink {
  const settings = {
    lazyConnect: true,
    // Limited by time, not by tries.
    maxRetriesPerRequest: null,
    commandTimeout: COMMAND_TIMEOUT,
    // After a reconnect whoever subscribed has to read what was missed, so they subscribe anew themselves.
    autoResubscribe: false,
  }
  const clients: Redis[] = []
  const open = () => {
    const client = source instanceof Redis ? source.duplicate(settings) : new Redis(source, settings)
    clients.push(client)
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

  const commands = withScripts(open())
  const writer = ownWriter ? withScripts(open()) : commands
  let server: Promise<string> | undefined
  const forgetServer = () => {
    server = undefined
  }
  commands.on('close', forgetServer)

  async function askServer(): Promise<string> {
    const info = await commands.info()
    const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
    const policy = field('maxmemory_policy')
    if (Number(field('maxmemory')) > 0 && policy !== 'noeviction') {
      throw new Error(`redisLog: Redis must not evict: its maxmemory-policy is '${policy}', and must be 'noeviction'`)
    }
    return field('master_replid')
  }

  return {
    commands,
    writer,
    subscriber: open(),
    server() {
      server ??= askServer().catch((error: unknown) => {
        forgetServer()
        throw error
      })
      return server
    },
    forgetServer,
    close: () => {
      for (const client of clients) client.disconnect()
    },
  }
}
