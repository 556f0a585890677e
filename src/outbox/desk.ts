import type { Delivery } from '../connection/messages'
import type { ConnectionError } from '../errors'
import type { UpstreamEvent } from '../machine/types'
import type { Ending } from './judge'
import type { Message } from './message'

/** How what posts the messages tells the queue of them. */
export interface Desk {
  end(message: Message, ending: Ending): void
  giveUp(message: Message, code: 'expired' | 'exhausted' | 'cancelled'): void
  /** Whether the queue lets anything leave. */
  mayPost(): boolean
  /** `fetch` is about to be called with it. */
  starting(message: Message): void
  /** The prompts that a stop takes back. */
  cancelledBy(stop: Message): readonly Message[]
  /** What is waited for, or until when, has changed. */
  waits(): void
  changed(message: Message): void
  report(error: ConnectionError): void
  tellMachine(fact: UpstreamEvent): void
  crash(cause: unknown): void
}

/** How the queue tells the connection of itself. */
export interface OutboxHost {
  changed(delivery: Delivery, sessionId: unknown): void
  /** What the queue waits for, or until when, has changed. */
  waits(): void
  tellMachine(fact: UpstreamEvent): void
  report(error: ConnectionError): void
  crash(cause: unknown): void
}
