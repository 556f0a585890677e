import type { OutboxLimits } from '../connection/limits'
import type { Message } from './message'

/** How much is in the queue, the new message included. */
export interface Load {
  readonly messages: number
  readonly bytes: number
}

/** Those that have to go for a new message. `drop-oldest` evicts only if that frees enough room. */
export function evictedBy(
  message: Message,
  line: Iterable<Message>,
  load: Load,
  { maxMessages, maxBytes, overflow }: Pick<OutboxLimits, 'maxMessages' | 'maxBytes' | 'overflow'>,
): readonly Message[] {
  let messagesOver = load.messages - maxMessages
  let bytesOver = load.bytes - maxBytes
  const isFull = () => messagesOver > 0 || bytesOver > 0
  const victims: Message[] = []
  if (overflow === 'drop-oldest') {
    for (const old of line) {
      if (old === message || !isFull()) break
      if (old.attempts) continue
      victims.push(old)
      messagesOver--
      bytesOver -= old.bytes
    }
  }
  return isFull() ? [message] : victims
}
