import type { Delivery } from '../connection/messages'
import type { Message } from './message'

/** The app's handle on a message. */
export function deliveryOf(message: Message, cancel: () => boolean, retryAt: () => number | null): Delivery {
  const settled = new Promise<Awaited<Delivery['settled']>>((resolve) => {
    message.settle = resolve
  })
  return {
    id: message.id,
    message: message.payload,
    settled,
    get status() {
      return message.status
    },
    get attempts() {
      return message.attempts
    },
    get error() {
      return message.lastError
    },
    get retryAt() {
      return retryAt()
    },
    cancel,
  }
}
