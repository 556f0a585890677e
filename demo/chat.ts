import { type ChatServer, createChatServer, type Metric, memoryLog } from 'holdline/server'
import { parse } from 'hono/utils/cookie'
import { Agent } from './agent'
import { HOSTS, type Visitors } from './guard'

export interface ChatOptions {
  readonly tokensPerSecond: number
  readonly toolMs: number
  readonly heartbeat: number
  readonly visitors: Visitors
  /** Returns how many prompts of this page have been received. */
  readonly onPrompt: (prompt: string, page: string) => number
  onMetric(metric: Metric): void
}

/** What answers the requests of the page's connections. */
export interface ChatHost {
  fetch(request: Request): Promise<Response>
  close(): Promise<void>
}

/** The cookie that tells visitors apart. */
export const COOKIE = 'demo'
/** Whose session was not named for the longest is up for grabs, but ids cannot be guessed. */
const MAX_OWNED = 10_000

/**
 * All that a restart loses: the log, the streams, the receipts, who owns which session, and what
 * was being said.
 */
export class Chat implements ChatHost {
  readonly #chat: ChatServer
  readonly #agent: Agent
  readonly #owners = new Map<string, string>()

  constructor({ tokensPerSecond, toolMs, heartbeat, visitors, onPrompt, onMetric }: ChatOptions) {
    this.#chat = createChatServer({
      heartbeat,
      log: memoryLog({ maxEvents: 20_000 }),
      allowedHosts: HOSTS,
      // An app would look up a login here; the demo takes everybody, and tells them apart by a
      // cookie.
      authenticate({ headers }) {
        const id = visitors.idOf(parse(headers.get('Cookie') ?? '', COOKIE)[COOKIE])
        return id === undefined ? null : { id }
      },
      authorize: ({ id }, sessionId) => this.#owns(id, sessionId),
      onCommand: (call) => this.#agent.handle(call),
      onMetric,
      onError: (error) => console.error(error),
    })
    this.#agent = new Agent({ server: this.#chat, tokensPerSecond, toolMs, onPrompt })
  }

  fetch(request: Request): Promise<Response> {
    return this.#chat.fetch(request)
  }

  close(): Promise<void> {
    this.#agent.close()
    return this.#chat.close()
  }

  /** Session ids are long and random: whoever names one first made it up. */
  #owns(id: string, sessionId: string): boolean {
    const owner = this.#owners.get(sessionId) ?? id
    this.#owners.delete(sessionId)
    const [oldest = ''] = this.#owners.set(sessionId, owner).keys()
    if (this.#owners.size > MAX_OWNED) this.#owners.delete(oldest)
    return owner === id
  }
}
