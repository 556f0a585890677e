import type { TransportName } from './contract'

/** Where a suite runs a client and a server together. */
export interface Place {
  readonly suite: string
  /** What hands requests to the server half, or a server of its own. */
  readonly host: string
  /** What runs that. */
  readonly runtime: string
  readonly proxy?: string
  readonly transports: readonly TransportName[]
  /** A run-time or a browser engine. */
  readonly client: string
}
declare module 'vitest' {
  interface TaskMeta {
    place?: Place
  }
}

/**
 * A server on Node, and a page of Chromium with its EventSource, as far as `more` says nothing
 * else.
 */
export const onNode = (suite: string, more: Partial<Place> = {}): Place => ({
  suite,
  host: '@hono/node-server',
  runtime: 'Node',
  transports: ['EventSource'],
  client: 'Chromium',
  ...more,
})
