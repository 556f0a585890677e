import type { ChatServer, LogEntry, SessionLog } from '../../../server'
import { memoryLog } from '../../../server'
import type { ProducedEvent, RunCall, RunsOptions } from '../../../server/runs'
import { createRuns } from '../../../server/runs'
import { createTestServer } from '../../support/server'

/** A command of alice's. */
export const command = (sessionId: string, key?: string): RunCall => ({
  principal: { id: 'alice' },
  sessionId,
  idempotencyKey: key,
})

/** A producer whose events come when the test says so. */
export function manualProducer() {
  const waiting: ((result: IteratorResult<ProducedEvent>) => void)[] = []
  const ready: ProducedEvent[] = []
  const runs: string[] = []
  let signal: AbortSignal | undefined
  let ending: 'open' | 'done' | unknown = 'open'
  let returns = 0
  const done = { done: true as const, value: undefined }
  const source: AsyncIterableIterator<ProducedEvent> = {
    [Symbol.asyncIterator]: () => source,
    next: async () => {
      const event = ready.shift()
      if (event) return { done: false, value: event }
      if (ending === 'done') return done
      if (ending !== 'open') throw ending
      return new Promise((resolve) => waiting.push(resolve))
    },
    return: async () => {
      returns += 1
      return done
    },
  }
  return {
    produce: (given: AbortSignal, run: string) => {
      signal = given
      runs.push(run)
      return source
    },
    /** The runs that it was called for. */
    runs,
    get signal() {
      return signal
    },
    /** Events that no one has taken. */
    get left() {
      return ready.length
    },
    /** How often it was told that no more is wanted. */
    get returns() {
      return returns
    },
    say(...events: ProducedEvent[]) {
      for (const event of events) {
        const next = waiting.shift()
        if (next) next({ done: false, value: event })
        else ready.push(event)
      }
    },
    finish() {
      ending = 'done'
      for (const next of waiting.splice(0)) next(done)
    },
  }
}

export const text = (text: string) => ({ type: 'text', text })

/** A producer that says these and is done. */
export const says = (...events: ProducedEvent[]) =>
  async function* () {
    yield* events
  }

export const forever = () => new Promise<never>(() => {})

/** A server on a log, with runs. */
export function stage(options: Omit<RunsOptions, 'server'> = {}, log: SessionLog = memoryLog()) {
  const metrics: { readonly name: string; readonly value: number }[] = []
  const started = createTestServer({ log, onMetric: (metric) => metrics.push(metric) })
  const runs = createRuns({ server: started.server, ...options })
  return { ...started, runs, log, metrics }
}

/** All that is in the session, without what every event has. */
export async function eventsOf(log: SessionLog, sessionId: string) {
  const entries: readonly LogEntry[] = await log.read(sessionId, 0, 100_000)
  return entries.map(({ event }) => event)
}

export const typesOf = async (log: SessionLog, sessionId: string) =>
  (await eventsOf(log, sessionId)).map(({ type }) => type)

export type { ChatServer }
