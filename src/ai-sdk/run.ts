import type { UIMessage, UIMessageChunk } from 'ai'
import { ConnectionError } from '../errors'

/** One run of a chat, from its begin on, as far as it has come. */
export class Run {
  state: 'running' | 'suspended' | 'ended' = 'running'
  readonly chunks: UIMessageChunk[] = []
  /** What the user said. */
  prompt: UIMessage | undefined
  /** Why it ended before its time. */
  error: unknown

  constructor(readonly id: string) {}

  end(reason: unknown) {
    if (this.state === 'ended') return
    this.state = 'ended'
    if (reason === 'stopped') this.error = stopped()
    else if (reason === 'failed')
      this.error = new ConnectionError('run-failed', 'the server failed to make this answer: ask again')
    else if (reason !== 'finished') {
      // Version 7 knows the reason, and sends nothing by itself after it. Version 6 passes it on.
      // The error makes both show it.
      this.chunks.push({ type: 'finish', finishReason: 'interrupted' as never })
      this.error = interrupted()
    }
  }
}

/** A chat takes it as its own stop: it is `ready`, and sends nothing by itself. */
export const stopped = () => new DOMException('the answer was stopped', 'AbortError')

export const interrupted = () =>
  new ConnectionError('run-interrupted', 'the server lost the rest of this answer: ask again')
