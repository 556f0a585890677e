import { setImmediate as nextTurn } from 'node:timers/promises'
import { ACTS, weightsOf } from './acts'
import { ChaosApp } from './app'
import { check, type Excuse } from './check'
import { createDice, oneOf } from './dice'
import { startLine } from './line'
import { drawScenario } from './scenario'
import { startServer } from './server'

export interface RunOptions {
  readonly seed: number
  /** Without it the server applies whatever it is posted. */
  readonly idempotency: boolean
  readonly sends: number
  readonly events: number
  /** Hears of everything that is done to the line, as it is done. */
  readonly log?: (line: string) => void
}
export interface Outcome {
  /** The rules that did not hold. */
  readonly violations: readonly string[]
  /** How often what was done to the line. */
  readonly faults: Readonly<Record<string, number>>
}

/** Without a verdict or an event for this long nothing will come any more, ms. */
const STUCK = 20_000

/** Messages at the end of a run of which none is poison. */
const LAST = 50

/** The real client, the real server, and between them what the seed draws. */
export async function run({ seed, idempotency, sends, events, log }: RunOptions): Promise<Outcome> {
  const dice = createDice(seed)
  const scenario = drawScenario(dice, idempotency)
  const { sessionIds, features, window } = scenario
  const faults: Record<string, number> = {}
  const startedAt = performance.now()
  const tell = (fault: string, what: string) => {
    faults[fault] = (faults[fault] ?? 0) + 1
    log?.(`${(performance.now() - startedAt).toFixed(0).padStart(6)} ms  ${fault.padEnd(24)} ${what}`)
  }
  log?.(JSON.stringify(scenario))

  const server = await startServer(dice, scenario)
  const line = await startLine(dice, scenario, server.url, tell)
  const app = new ChaosApp({ dice, scenario, url: line.url, currentToken: server.token })
  const { sent, heard } = app
  const weights = weightsOf(scenario)
  const acts = { ...ACTS, changeToken: server.changeToken }

  /** Poison is given up once the server has taken others: it needs neighbours. */
  function fateOf(n: number): Excuse | undefined {
    if (server.refuses(n)) return 'refused by the server'
    return window > 1 && n < sends - LAST && dice.chance(0.005, 'poison', n) ? 'poisoned' : undefined
  }

  async function play() {
    const random = dice.draw('app')
    let published = 0
    for (let n = 0; n < sends; n++) {
      await app.until(() => n - app.settled < window)
      app.send(n, fateOf(n))
      for (; published < ((n + 1) * events) / sends; published++) await server.publish(oneOf(random, sessionIds))
      await act(n)
      if (random() < 0.1) await nextTurn()
    }
    await app.until(() => app.settled === sends)
    // What is lost at the very end of a stream is missed with the next event, or at the next
    // resume.
    line.calm()
    app.connection.reconnect()
    await app.until(() => Object.values(heard).every((all) => all.length >= events))
    await line.proxy.quiet()
    // What might come twice has had its chance after this.
    app.connection.reconnect()
    await app.until(() => !app.connection.isOpen)
    await app.until(() => app.connection.isOpen)
  }

  async function act(n: number) {
    for (const name in acts) {
      const random = dice.draw(name, n)
      if (1_000 * random() >= weights[name as keyof typeof acts]) continue
      tell(`app ${name}`, `after message ${n}`)
      await acts[name as keyof typeof acts](app, random, scenario)
    }
  }

  let watchdog: NodeJS.Timeout | undefined
  const stuck = new Promise<void>((resolve) => {
    watchdog = setInterval(() => {
      if (app.silence < STUCK) return
      app.surprises.push(`stuck in ${app.connection.phase}: ${app.connection.lastError}`)
      resolve()
    }, 500)
  })
  await Promise.race([play(), stuck])
  clearInterval(watchdog)

  for (const { excuse, verdict } of sent) {
    if (excuse) tell(`message ${excuse}`, `${verdict?.status} after ${verdict?.attempts} attempts`)
  }

  const violations = check({
    promises: { idempotency, receipts: features.includes('receipts') },
    sent: [...sent],
    posted: app.posted,
    applied: server.applied,
    published: server.published,
    heard,
    lifecycle: app.lifecycle,
    mostStreams: line.proxy.mostStreams,
    surprises: [...server.surprises, ...app.surprises],
  })
  app.connection.dispose()
  await line.proxy.close()
  await server.close()
  return { violations, faults }
}
