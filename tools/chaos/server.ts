import { setTimeout as sleep } from 'node:timers/promises'
import { CommandRejected, createChatServer, memoryLog } from 'holdline/server'
import { listen } from '../shared/listen'
import type { History } from './check'
import { createCounter, type Dice } from './dice'
import { clock, type Scenario } from './scenario'

/** Nothing was applied; a repeat will do, unless it is poison. */
class Hiccup extends Error {}

/** Whether a message is to be turned down for good. */
export const refusalsOf =
  ({ chance }: Pick<Dice, 'chance'>) =>
  (n: unknown) =>
    chance(0.01, 'refuse', n)

/** What a run asks of its server. */
export interface ChaosServer {
  readonly url: string
  /** What it did not expect. */
  readonly surprises: readonly string[]
  /** Whether it turns this message down for good. */
  refuses(n: unknown): boolean
  /** What the `Authorization` of a request has to be. */
  token(): string
  changeToken(): void
  /** Makes it say something in a session by itself. */
  publish(sessionId: string): Promise<void>
  /** What it has done so far. */
  history(): Promise<Pick<History, 'applied' | 'published'>>
  close(): Promise<void>
}

/** The real server half. */
export async function startServer({ draw, chance }: Dice, scenario: Scenario): Promise<ChaosServer> {
  const { features, sessionIds, hasTokens, streamAge } = scenario
  const applied: number[] = []
  const published: Record<string, number> = Object.fromEntries(sessionIds.map((sessionId) => [sessionId, 0]))
  const surprises: string[] = []
  const tries = createCounter()
  const refuses = refusalsOf({ chance })
  let tokens = 1

  const chat = createChatServer({
    log: memoryLog({ maxEvents: 1_000_000, maxBytes: 2 ** 33 }),
    clock,
    random: draw('server'),
    heartbeat: 5_000,
    // Without idempotency it remembers nothing: a batch has ids that cannot be withheld from it.
    limits: { streamAge, ...(!features.includes('idempotency') && { receiptAge: 1e-6 }) },
    authenticate: ({ headers }) => (hasTokens && headers.get('authorization') !== `${tokens}` ? null : { id: 'me' }),
    authorize: () => true,
    async onCommand({ message: { n, isPoison } }) {
      const random = draw('command', n, tries(n))
      if (refuses(n)) throw new CommandRejected(422, 'refused')
      if (isPoison || random() < 0.01) throw new Hiccup()
      if (random() < 0.01) await sleep(10 * random())
      const application = applied.push(n as number) - 1
      if (random() < 0.01) await sleep(10 * random())
      return { application }
    },
    onError: (error) => error instanceof Hiccup || surprises.push(`an error in the server: ${error}`),
  })
  const host = await listen(chat.fetch)

  return {
    url: host.url,
    surprises,
    refuses,
    token: () => `${tokens}`,
    changeToken() {
      tokens++
    },
    async publish(sessionId: string) {
      const { seq } = await chat.publish(sessionId, { type: 'token' })
      published[sessionId] = seq
    },
    history: async () => ({ applied, published }),
    async close() {
      await host.close()
      await chat.close()
    },
  }
}
