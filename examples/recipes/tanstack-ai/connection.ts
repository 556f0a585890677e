import type { AgentSubscriber, Message } from '@ag-ui/client'
import type { StreamChunk } from '@tanstack/ai'
import { uiMessagesToWire } from '@tanstack/ai/client'
import type { SubscribeConnectionAdapter } from '@tanstack/ai-client'
import { followAgent, type HoldlineAgent } from 'holdline/ag-ui'

/**
 * The `connection` of a TanStack AI `ChatClient` or `useChat`, over an agent whose `threadId` is
 * the chat's. What the agent hears, the chat hears: its own runs, and those that began elsewhere,
 * from their first event.
 *
 * An abort (`stop()`, an unmount) only turns away: to end the run for everybody, call
 * `agent.stop()`.
 */
export function agentConnection(agent: HoldlineAgent): SubscribeConnectionAdapter {
  const own = new Set<string>()

  return {
    async *subscribe(signal) {
      const chunks: StreamChunk[] = []
      let wake = () => {}
      const push = (chunk: object) => {
        chunks.push(chunk as StreamChunk)
        wake()
      }
      const subscriber: AgentSubscriber = {
        onEvent({ event }) {
          push(event)
        },
        onRunStartedEvent({ event, messages }) {
          // What was said elsewhere. TanStack AI reads no `input` of RUN_STARTED.
          if (own.has(event.runId)) return
          const isNew = ({ id }: Message) => !messages.some((message) => message.id === id)
          const said = [...messages, ...(event.input?.messages.filter(isNew) ?? [])]
          push({ type: 'MESSAGES_SNAPSHOT', messages: said, timestamp: Date.now() })
        },
      }
      const { unsubscribe } = agent.subscribe(subscriber)
      const unfollow = followAgent(agent)
      signal?.addEventListener('abort', () => wake(), { once: true })
      try {
        while (!signal?.aborted) {
          const chunk = chunks.shift()
          if (chunk) yield chunk
          else await new Promise<void>((resolve) => (wake = resolve))
        }
      } finally {
        unfollow()
        unsubscribe()
      }
    },

    async send(messages, data, signal, context) {
      if (context) own.add(context.runId)
      const detach = () => void agent.detachActiveRun()
      signal?.addEventListener('abort', detach, { once: true })
      // TanStack AI asks again for what an interrupt or a tool left open; it keeps these itself.
      agent.pendingInterrupts = []
      agent.setMessages(uiMessagesToWire(messages) as Message[])
      try {
        await agent.runAgent({
          ...(context && { runId: context.runId }),
          ...(context?.resume && { resume: context.resume }),
          tools: (context?.clientTools ?? []).map(({ parameters, ...tool }) => ({
            ...tool,
            parameters: parameters ?? {},
          })),
          forwardedProps: { ...context?.forwardedProps, ...data },
        })
      } finally {
        signal?.removeEventListener('abort', detach)
      }
    },
  }
}
