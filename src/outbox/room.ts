import type { OutboxLimits } from '../connection/limits'
import type { Message } from './message'
import type { Unsettled } from './unsettled'

type Limits = Pick<OutboxLimits, 'maxMessages' | 'maxBytes' | 'overflow'>

/**
 * The messages that have to go for a new one, or the new one itself. `drop-oldest` evicts only if
 * that frees enough room.
 */
export function evictedBy(message: Message, unsettled: Unsettled, limits: Limits): readonly Message[] {
  const { maxMessages, maxBytes, overflow } = limits
  let messagesOver = unsettled.byId.size - maxMessages
  let bytesOver = unsettled.bytes - maxBytes
  const isFull = () => messagesOver > 0 || bytesOver > 0
  const victims: Message[] = []
  if (overflow === 'drop-oldest') {
    for (const old of unsettled.queue) {
      if (old === message || !isFull()) break
      if (old.attempts) continue
      victims.push(old)
      messagesOver--
      bytesOver -= old.bytes
    }
  }
  return isFull() ? [message] : victims
}
