import { eventSourceTransport, fetchStreamTransport, type Transport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { type Serve, transportContract } from 'holdline/testing'
import type { TransportName } from '../contract'

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
  /** Serves `fetch` over HTTP and over WebSockets, natively. */
  listen(fetch: (request: Request) => Promise<Response>): Promise<{
    /** Where the chat is, over both. */
    readonly url: string
    cut(): void
    close(): Promise<void>
  }>
}

const CLIENTS: readonly (readonly [TransportName, Transport])[] = [
  ['EventSource', eventSourceTransport],
  ['fetch', fetchStreamTransport],
  ['WebSocket', webSocketTransport()],
]

/** Runs every case over every transport, and prints an `Outcome` for each as a line of JSON; the first line is the version. */
export async function runContract({ version, listen }: Host): Promise<void> {
  console.log(JSON.stringify({ version }))
  for (const [transport, client] of CLIENTS) {
    const serve: Serve = async (fetch) => ({ ...(await listen(fetch)), transport: client })
    for (const { name, run } of transportContract) {
      const error = await run(serve).then(
        () => undefined,
        (reason: unknown) => (reason instanceof Error ? (reason.stack ?? String(reason)) : String(reason)),
      )
      console.log(JSON.stringify({ transport, name, ...(error !== undefined && { error }) } satisfies Outcome))
    }
  }
}
