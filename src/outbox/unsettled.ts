import type { Message } from './message'
import { Queue } from './queue'

/** The messages without a verdict. */
export class Unsettled {
  readonly byId = new Map<string, Message>()
  /** In the order of `send()`. */
  readonly queue = new Queue<Message>()
  bytes = 0

  enter(message: Message, where: 'first' | 'last') {
    message.inQueue = where === 'last' ? this.queue.push(message) : this.queue.unshift(message)
    this.byId.set(message.id, message)
    this.bytes += message.bytes
  }

  leave(message: Message) {
    if (message.inQueue) this.queue.remove(message.inQueue)
    this.byId.delete(message.id)
    this.bytes -= message.bytes
  }
}
