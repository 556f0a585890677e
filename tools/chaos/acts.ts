import { setTimeout as sleep } from 'node:timers/promises'
import type { ChaosApp } from './app'
import { oneOf, type Random } from './dice'
import type { Scenario } from './scenario'

/** What an app may do at any moment. */
export const ACTS = {
  async disconnect({ connection }: ChaosApp, random: Random) {
    connection.disconnect()
    if (random() < 0.5) await sleep(10 * random())
    connection.connect()
  },
  reconnect: ({ connection }: ChaosApp) => connection.reconnect(),
  wake: ({ connection }: ChaosApp, random: Random) => connection.wake({ awayFor: random() < 0.5 ? 0 : 60_000 }),
  suspend: ({ connection }: ChaosApp) => connection.suspend(),
  cancel(app: ChaosApp, random: Random) {
    // Rather one of the oldest: those may be in flight.
    const { pending } = app.connection
    const delivery = pending[Math.floor(pending.length * random() ** 4)]
    app.cancel(app.sent.find((entry) => entry.delivery === delivery))
  },
  clearOutbox(app: ChaosApp) {
    for (const entry of app.sent) app.cancel(entry)
  },
  async lookAway(app: ChaosApp, random: Random, { sessionIds }: Scenario) {
    if (!app.isWaiting) await app.lookAway(oneOf(random, sessionIds), 10 * random())
  },
  reload(app: ChaosApp) {
    if (!app.isWaiting) app.reload()
  },
}

export type Act = keyof ReturnType<typeof weightsOf>

/** After how many of 1,000 messages. */
export const weightsOf = ({ server, features, hasStorage, hasTokens }: Scenario) => ({
  disconnect: 3,
  reconnect: 3,
  wake: 4,
  suspend: 2,
  cancel: 10,
  clearOutbox: 0.5,
  // Otherwise what is still on its way for the session passes for what comes after the cursor.
  lookAway: features.includes('contiguous-seq') ? 3 : 0,
  reload: hasStorage ? 3 : 0,
  changeToken: hasTokens && server === 'own' ? 3 : 0,
})
