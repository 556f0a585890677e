import type { UIMessageChunk } from 'ai'
import type { SessionEvent } from '../../server/log/sessionLog'
import type { Coalesce } from '../../server/runs'
import type { ChatEvent } from '../wire'

/**
 * Deltas of one part that come in a burst are one event. One that says anything else, e.g.
 * `providerMetadata`, stays for itself.
 */
export const join: Coalesce['join'] = (previous, next) => {
  const chunk = joined(deltaOf(previous), deltaOf(next))
  return chunk && ({ type: 'ui', chunk } satisfies ChatEvent)
}

const deltaOf = (event: SessionEvent): UIMessageChunk | undefined =>
  event.type === 'ui' && event.for === undefined ? (event.chunk as UIMessageChunk | undefined) : undefined

function joined(a: UIMessageChunk | undefined, b: UIMessageChunk | undefined): UIMessageChunk | undefined {
  if (!a || !b || Object.keys(a).length !== 3 || Object.keys(b).length !== 3) return undefined
  if ((a.type === 'text-delta' || a.type === 'reasoning-delta') && b.type === a.type && b.id === a.id) {
    return { ...a, delta: a.delta + b.delta }
  }
  if (a.type === 'tool-input-delta' && b.type === a.type && b.toolCallId === a.toolCallId) {
    return { ...a, inputTextDelta: a.inputTextDelta + b.inputTextDelta }
  }
  return undefined
}
