import { type AbstractAgent, type BaseEvent, runHttpRequest } from '@ag-ui/client'

/** What an agent's `run` returns: an Observable of the RxJS that `@ag-ui/client` brings. */
export type Events = ReturnType<AbstractAgent['run']>

export interface EventSubscriber {
  readonly closed: boolean
  next(event: BaseEvent): void
  error(error: unknown): void
  complete(): void
}

/**
 * `@ag-ui/client` pins its own RxJS and does not export it. Another copy has other types and weighs
 * twice, so the class is taken from an Observable that it makes; nothing is requested before that
 * is subscribed to.
 */
export const Observable = runHttpRequest(() => Promise.reject(new Error('never asked'))).constructor as unknown as new (
  subscribe: (subscriber: EventSubscriber) => () => void,
) => Events
