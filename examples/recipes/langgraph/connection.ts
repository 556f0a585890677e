import { type AgentServerAdapter, matchesSubscription } from '@langchain/langgraph-sdk/client'
import type { Connection } from 'holdline'

type ThreadEvent = Parameters<typeof matchesSubscription>[0]
type Receipt = NonNullable<Awaited<ReturnType<AgentServerAdapter['send']>>>

/**
 * The `transport` of LangGraph's `client.threads.stream(threadId, { assistantId, transport })`,
 * over a connection whose sessions are threads. Commands go up through the outbox; what the graph
 * says comes down as a run, whatever happens to the line, and for every page of the thread.
 */
export function threadAdapter(connection: Connection, thread: string): AgentServerAdapter {
  const listeners = new Set<(event: ThreadEvent) => void>()
  /** What the newest run has said: a stream that is opened later hears it too. */
  let said: ThreadEvent[] = []
  let threadId = thread
  let leave = () => {}

  /** From the first event that the server keeps: the page may come in the middle of a run. */
  function follow() {
    const off = connection.on('message', { session: threadId }, (message) => {
      if (message.type === 'run.started') said = []
      const event = eventOf(message)
      if (!event) return
      said.push(event)
      for (const listener of listeners) listener(event)
    })
    const unwatch = connection.watch(threadId, { after: 0 })
    leave = () => {
      off()
      unwatch()
    }
  }
  follow()

  return {
    get threadId() {
      return threadId
    },
    setThreadId(next) {
      if (next === threadId) return
      leave()
      threadId = next
      said = []
      follow()
    },
    async open() {},
    async send(command) {
      const verdict = await connection.send({ type: 'send', sessionId: threadId, command }).settled
      const { id } = command
      if (verdict.status === 'accepted') return { type: 'success', id, result: verdict.receipt } as Receipt
      return { type: 'error', id, error: 'unknown_error', message: verdict.error.message }
    },
    async *events() {},
    openEventStream(filter) {
      const queue = said.filter((event) => matchesSubscription(event, filter))
      let state: 'open' | 'closed' = 'open'
      let wake = () => {}
      const listener = (event: ThreadEvent) => {
        if (matchesSubscription(event, filter)) queue.push(event)
        wake()
      }
      listeners.add(listener)
      async function* events() {
        while (state === 'open') {
          const event = queue.shift()
          if (event) yield event
          else await new Promise<void>((resolve) => (wake = resolve))
        }
      }
      function close() {
        state = 'closed'
        listeners.delete(listener)
        wake()
      }
      return { events: events(), ready: Promise.resolve(), close }
    },
    async close() {
      leave()
    },
  }
}

/** The end of a run that the graph could not tell itself is told for it. */
function eventOf({ type, seq, epoch, event, reason }: Readonly<Record<string, unknown>>) {
  const place = { type: 'event', seq, event_id: `${epoch} ${seq}` }
  if (type === 'langgraph') return { ...(event as object), ...place } as ThreadEvent
  if (type !== 'run.ended' || reason === 'finished') return undefined
  const data = reason === 'stopped' ? { event: 'interrupted' } : { event: 'failed', error: `run ${reason}` }
  return { ...place, method: 'lifecycle', params: { namespace: [], timestamp: Date.now(), data } } as ThreadEvent
}
