import type { WebSocketClass } from 'holdline/adapters/websocket'
import { type Serve, transportContract } from 'holdline/testing'
import type { TransportName } from '../contract'
import { createClient } from '../createClient'

/** One line of what a script prints. */
export interface Outcome {
  readonly transport: TransportName
  readonly name: string
  /** Missing where the behaviour is as it should be. */
  readonly error?: string
}

export interface Host {
  /** What runs this. */
  readonly version: string
  /** Where it has none of its own. */
  readonly WebSocket?: WebSocketClass
  /** Serves `fetch` over HTTP and over WebSockets, natively. */
  listen(fetch: (request: Request) => Promise<Response>): Promise<{
    /** Where the chat is, over both. */
    readonly url: string
    cut(): void
    close(): Promise<void>
  }>
}

const TRANSPORTS: readonly TransportName[] = ['EventSource', 'fetch', 'WebSocket']

/**
 * Runs every case over every transport, and prints an `Outcome` for each as a line of JSON; the
 * first line is the version.
 */
export async function runContract({ version, WebSocket, listen }: Host): Promise<void> {
  console.log(JSON.stringify({ version }))
  for (const transport of TRANSPORTS) {
    for (const { name, needs, run } of transportContract) {
      const serve: Serve = async (fetch) => ({ ...(await listen(fetch)), ...createClient(transport, needs, WebSocket) })
      const error = await run(serve).then(
        () => undefined,
        (reason: unknown) => (reason instanceof Error ? (reason.stack ?? String(reason)) : String(reason)),
      )
      console.log(JSON.stringify({ transport, name, ...(error !== undefined && { error }) } satisfies Outcome))
    }
  }
}
