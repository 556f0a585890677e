import type { StreamHandlers } from '../adapters/eventSource'
import { type Feature, isText, type JsonObject } from '../protocol'

/** Where a tab's connection has its stream from, and who posts what is about that stream. */
export interface Source {
  open(handlers: StreamHandlers): void
  close(): void
  /** Posts what is about the stream. */
  ask(endpoint: string, body: string): Promise<JsonObject>
  /** The tab has posted a message to these sessions. */
  attend(sessionIds: readonly string[]): void
}

/** The POSTs that are about the stream, but for the probe. */
export const ABOUT_THE_STREAM: readonly string[] = ['reconnect', 'watch', 'unwatch', 'suspend']

const NEEDED: readonly Feature[] = ['contiguous-seq', 'replay-marker', 'probe']
/** Whether a server has what sharing takes. */
export const fitnessOf = (features: readonly Feature[]) =>
  NEEDED.every((feature) => features.includes(feature)) ? ('fit' as const) : ('unfit' as const)

/** The sessions that a message of the app, or a batch of them, names. */
export function sessionsOf(message: unknown): readonly string[] {
  const { sessionId, messages }: JsonObject = Object(message)
  const own = isText(sessionId) && sessionId ? [sessionId] : []
  return Array.isArray(messages) ? messages.flatMap(({ body }) => sessionsOf(body)) : own
}
