import type { Transport } from '../../adapters/transport'
import type { Connection, ConnectionEvents } from '../../connection/api'
import type { ConnectionOptions } from '../../connection/options'
import { createConnection } from '../../createConnection'
import type { JsonObject } from '../../protocol'
import { clock } from './clock'
import { ContractServer } from './contractServer'

/** What serves a chat server over the wire that is tested. */
export interface ContractHost {
  readonly url: string
  readonly transport: Transport
  /** More options that the transport needs. */
  readonly options?: Partial<ConnectionOptions>
  /** Cuts every connection, without a word. */
  cut(): void
  /**
   * Ends what carries the stream of the client without an event, as engines do at times. What
   * carries it says so if it is asked.
   */
  hush?(): void
  close(): Promise<void>
}
export type Serve = (fetch: (request: Request) => Promise<Response>) => Promise<ContractHost>

type Told = {
  readonly [Name in keyof ConnectionEvents]: readonly [Name, ConnectionEvents[Name]]
}[keyof ConnectionEvents]

/** After this long what a case waits for will not come any more, ms of real time. */
const PATIENCE = 10_000

/** A real client and the real server half, with the transport between them. */
export class ContractLine {
  static async open(serve: Serve, options: Partial<ConnectionOptions> = {}): Promise<ContractLine> {
    const server: ContractServer = new ContractServer(() => line.connection.phase)
    const host = await serve(server.answer)
    const line: ContractLine = new ContractLine(server, host, options)
    return line
  }

  readonly server: ContractServer
  readonly connection: Connection
  /** Every public event but messages, oldest first. */
  readonly told: Told[] = []
  readonly messages: JsonObject[] = []
  readonly #host: ContractHost

  private constructor(server: ContractServer, host: ContractHost, options: Partial<ConnectionOptions>) {
    this.server = server
    this.#host = host
    this.connection = createConnection({
      url: host.url,
      transport: host.transport,
      clock,
      random: () => 0.5,
      pageLifecycle: false,
      backoff: { base: 200, cap: 2_000 },
      ...host.options,
      ...options,
    })
    for (const name of NAMES) this.connection.on(name, (event) => this.told.push([name, event] as Told))
    this.connection.on('message', (message) => this.messages.push(message))
  }

  /** What came of one session. */
  seqs(sessionId = 's1') {
    return this.messages.filter((message) => message.sessionId === sessionId).map(({ seq }) => seq)
  }

  cut() {
    this.#host.cut()
  }

  hush() {
    if (!this.#host.hush) throw new Error('no stream of this host ends without an event')
    this.#host.hush()
  }

  async until(what: string, holds: () => boolean) {
    const start = Date.now()
    while (!holds()) {
      if (Date.now() - start > PATIENCE)
        throw new Error(`${what}: never. ${this.connection.phase}, ${describe(this.told)}`)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }

  opens() {
    this.connection.connect()
    return this.until('open', () => this.connection.isOpen)
  }

  send(prompt: string, id?: string) {
    return this.connection.send({ type: 'send', sessionId: 's1', prompt }, id === undefined ? {} : { id })
  }

  async close() {
    this.connection.dispose()
    await this.#host.close()
    await this.server.close()
  }
}

const NAMES = ['opened', 'closed', 'stopped', 'phase', 'session', 'delivery', 'refused', 'error'] as const

const describe = (told: readonly Told[]) =>
  told
    .slice(-12)
    .map(([name, event]) => `${name} ${JSON.stringify(event)}`)
    .join('; ')
