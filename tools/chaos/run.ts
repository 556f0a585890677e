import { setImmediate as nextTurn } from 'node:timers/promises'
import { ACTS, type Act, weightsOf } from './acts'
import { ChaosApp } from './app'
import { check, type Excuse } from './check'
import { createDice, type Dice, oneOf } from './dice'
import { type Foreign, startForeign } from './foreign'
import { startLine } from './line'
import { drawScenario, type Scenario } from './scenario'
import { type ChaosServer, refusalsOf, startServer } from './server'

export interface RunOptions {
  readonly seed: number
  /** Without it the server applies whatever it is posted. */
  readonly idempotency: boolean
  /** In the place of the server half. */
  readonly foreign?: Foreign | undefined
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

/** The real client, a real server, and between them what the seed draws. */
export async function run(options: RunOptions): Promise<Outcome> {
  const dice = createDice(options.seed)
  const scenario = drawScenario(dice, options)
  const journal = new Journal(options.log)
  options.log?.(JSON.stringify(scenario))
  const server = await (options.foreign
    ? startForeign(options.foreign, scenario, refusalsOf(dice))
    : startServer(dice, scenario))
  const line = await startLine(dice, scenario, server.url, journal.tell)
  const app = new ChaosApp({ dice, scenario, url: line.url, currentToken: server.token })
  const chaosRun = new ChaosRun({ options, dice, scenario, server, line, app, tell: journal.tell })
  await chaosRun.play()
  const violations = await chaosRun.judge()
  app.connection.dispose()
  await line.proxy.close()
  await server.close()
  return { violations, faults: journal.faults }
}

/** What was done to the line, as it is done. */
class Journal {
  readonly faults: Record<string, number> = {}
  readonly #log: RunOptions['log']
  readonly #startedAt = performance.now()

  constructor(log: RunOptions['log']) {
    this.#log = log
  }

  readonly tell = (fault: string, what: string) => {
    const ms = (performance.now() - this.#startedAt).toFixed(0)
    this.faults[fault] = (this.faults[fault] ?? 0) + 1
    this.#log?.(`${ms.padStart(6)} ms  ${fault.padEnd(24)} ${what}`)
  }
}

interface Parts {
  readonly options: RunOptions
  readonly dice: Dice
  readonly scenario: Scenario
  readonly server: ChaosServer
  readonly line: Awaited<ReturnType<typeof startLine>>
  readonly app: ChaosApp
  tell(fault: string, what: string): void
}

class ChaosRun {
  readonly #parts: Parts
  readonly #acts
  readonly #weights: Readonly<Record<Act, number>>

  constructor(parts: Parts) {
    this.#parts = parts
    this.#acts = { ...ACTS, changeToken: parts.server.changeToken }
    this.#weights = weightsOf(parts.scenario)
  }

  /** To the end, or until nothing moves any more. */
  async play() {
    const { app } = this.#parts
    let watchdog: NodeJS.Timeout | undefined
    const stuck = new Promise<void>((resolve) => {
      watchdog = setInterval(() => {
        if (app.silence < STUCK) return
        app.surprises.push(`stuck in ${app.connection.phase}: ${app.connection.lastError}`)
        resolve()
      }, 500)
    })
    const played = this.#sendAll().then(() => this.#letEnd())
    await Promise.race([played, stuck])
    clearInterval(watchdog)
  }

  /** The rules that did not hold. */
  async judge(): Promise<readonly string[]> {
    const { app, server, line, scenario, options, tell } = this.#parts
    for (const { excuse, verdict } of app.sent) {
      if (excuse) tell(`message ${excuse}`, `${verdict?.status} after ${verdict?.attempts} attempts`)
    }
    return check({
      promises: {
        idempotency: options.idempotency,
        receipts: scenario.features.includes('receipts'),
        places: scenario.server === 'own',
      },
      sent: [...app.sent],
      posted: app.posted,
      ...(await server.history()),
      heard: app.heard,
      lifecycle: app.lifecycle,
      mostStreams: line.proxy.mostStreams,
      surprises: [...server.surprises, ...app.surprises],
    })
  }

  async #sendAll() {
    const { app, server, dice, scenario, options } = this.#parts
    const { sends, events } = options
    const random = dice.draw('app')
    let published = 0
    for (let n = 0; n < sends; n++) {
      await app.until(() => n - app.settled < scenario.window)
      app.send(n, this.#fateOf(n))
      for (; published < ((n + 1) * events) / sends; published++)
        await server.publish(oneOf(random, scenario.sessionIds))
      await this.#act(n)
      if (random() < 0.1) await nextTurn()
    }
    await app.until(() => app.settled === sends)
  }

  async #letEnd() {
    const { app, line, server } = this.#parts
    // What is lost at the very end of a stream is missed with the next event, or at the next
    // resume.
    line.calm()
    app.connection.reconnect()
    await line.proxy.quiet()
    const { published } = await server.history()
    const events = Object.values(published).reduce((sum, count) => sum + count, 0)
    await app.until(() => Object.values(app.heard).every((all) => all.length >= events))
    // What might come twice has had its chance after this.
    app.connection.reconnect()
    await app.until(() => !app.connection.isOpen)
    await app.until(() => app.connection.isOpen)
  }

  /**
   * Poison is given up once the server has taken others: it needs neighbours. A foreign server
   * knows none.
   */
  #fateOf(n: number): Excuse | undefined {
    const { server, scenario, options, dice } = this.#parts
    if (server.refuses(n)) return 'refused by the server'
    const mayBePoison = scenario.server === 'own' && scenario.window > 1 && n < options.sends - LAST
    return mayBePoison && dice.chance(0.005, 'poison', n) ? 'poisoned' : undefined
  }

  async #act(n: number) {
    const { app, scenario, dice, tell } = this.#parts
    for (const [name, act] of Object.entries(this.#acts)) {
      const random = dice.draw(name, n)
      if (1_000 * random() >= this.#weights[name as Act]) continue
      tell(`app ${name}`, `after message ${n}`)
      await act(app, random, scenario)
    }
  }
}
