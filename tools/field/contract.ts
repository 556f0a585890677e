import { type ContractPromise, transportContract } from 'holdline/testing'
import { describe, expect, test } from 'vitest'

export const TRANSPORTS = ['EventSource', 'fetch', 'WebSocket'] as const
export type TransportName = (typeof TRANSPORTS)[number]

export type Cannot = Readonly<Record<TransportName, readonly ContractPromise[]>>

/**
 * An EventSource tells no comment, and a WebSocket has none, nor lines. A `fetch` stream does not
 * end without an event.
 */
export const WITH_EVENTSOURCE_PACKAGE: Cannot = {
  EventSource: ['comments'],
  fetch: ['silent-ends'],
  WebSocket: ['comments', 'line-ends'],
}
/**
 * [spec] HTML, server-sent events: an EventSource tells nothing of an answer. Why it was refused
 * can be asked for, for how long cannot.
 */
export const WITH_NATIVE_EVENTSOURCE: Cannot = {
  ...WITH_EVENTSOURCE_PACKAGE,
  EventSource: ['stream-retry-after', 'comments'],
}

/** What the table at the end is made of. */
export interface ContractCell {
  readonly host: string
  readonly transport: TransportName
  /** Its case is one that this transport cannot pass there; the test shows that it fails. */
  readonly isException: boolean
}
declare module 'vitest' {
  interface TaskMeta {
    cell?: ContractCell & { readonly version: string }
  }
}

export interface ContractRun {
  readonly version: string
  /** Why a case failed; undefined if it did not. Rejects where it was not run. */
  outcome(transport: TransportName, name: string): Promise<string | undefined>
}

/** One test per transport and case. The exceptions are cases too: they have to fail. */
export function testContract(host: string, cannot: Cannot, run: () => ContractRun) {
  describe.each(TRANSPORTS)(`the contract over %s in ${host}`, (transport) => {
    for (const { name, needs } of transportContract) {
      const isException = needs !== undefined && cannot[transport].includes(needs)
      test(isException ? `cannot (${needs}): ${name}` : name, async ({ task }) => {
        const error = await run().outcome(transport, name)
        task.meta.cell = { host, transport, isException, version: run().version }
        if (isException) expect(error, 'It can: the exception is out of date').toBeDefined()
        else expect(error).toBeUndefined()
      })
    }
  })
}
