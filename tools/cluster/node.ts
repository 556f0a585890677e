import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAdaptorServer } from '@hono/node-server'
import { type CloseOptions, createChatServer, type SessionLog } from 'holdline/server'
import { createRuns } from 'holdline/server/runs'
import type { Place } from './check'

/** Every so many events one is too big to be announced with its content. */
const BIG_EVERY = 50
const BIG = 'x'.repeat(5_000)
/** Between the events of a command, at most, ms. */
const PAUSE = 100
/** ms. */
const GRACE = 500

export const eventOf = (what: string, n: number) => ({ type: 'said', what, ...(n % BIG_EVERY === 0 && { text: BIG }) })

/** A producer that takes its time, so that it dies in the middle, or is interrupted. */
async function* say(whats: readonly string[], n: number) {
  for (const what of whats) {
    await sleep(2 * PAUSE * Math.random())
    yield eventOf(what, n)
  }
}

export interface NodeOptions {
  readonly log: SessionLog
  readonly port: number
  onError(error: unknown): void
}

/** One node of the cluster. A command says what it wants to see in the log, event by event. */
export async function startNode({ log, port, onError }: NodeOptions) {
  const chat = createChatServer({
    log,
    heartbeat: 5_000,
    authenticate: ({ headers }) => ({ id: headers.get('authorization') ?? 'nobody' }),
    authorize: () => true,
    async onCommand(call) {
      const { sessionId = '', publish } = call
      const { n, whats, isRun } = call.message
      if (isRun) return runs.start(call, () => say(whats as string[], Number(n)))
      const places: Place[] = []
      for (const what of whats as string[]) {
        // Between two of them there is time to die.
        if (places.length > 0) await sleep(PAUSE * Math.random())
        const { epoch, seq } = await publish(sessionId, eventOf(what, Number(n)))
        places.push({ epoch, seq })
      }
      return { places }
    },
    onError,
  })
  const runs = createRuns({ server: chat, onBusy: 'interrupt' })
  const server = createAdaptorServer({ fetch: chat.fetch }) as Server
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    publish: chat.publish,
    port: (server.address() as AddressInfo).port,
    async close(options?: CloseOptions) {
      await chat.close(options)
      await runs.idle()
      const closed = once(server, 'close')
      server.close()
      // Whoever is being answered, is answered. Connections that are kept alive would be so for
      // ever: they are posted to.
      setTimeout(() => server.closeAllConnections(), GRACE)
      await closed
    },
  }
}
