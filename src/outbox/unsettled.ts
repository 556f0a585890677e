import type { Message } from './message'
import { Queue } from './queue'

/** The messages without a verdict. */
export class Unsettled {
  readonly byId = new Map<string, Message>()
  /** In the order of `send()`. */
  readonly line = new Queue<Message>()
  bytes = 0

  enter(message: Message, where: 'first' | 'last') {
    message.inLine = where === 'last' ? this.line.push(message) : this.line.unshift(message)
    this.byId.set(message.id, message)
    this.bytes += message.bytes
  }

  leave(message: Message) {
    if (message.inLine) this.line.remove(message.inLine)
    this.byId.delete(message.id)
    this.bytes -= message.bytes
  }
}
