import type { UIMessage, UIMessageChunk } from 'ai'
import { isObject, isText, type JsonObject } from '../protocol'
import { Run, type RunEnd } from '../threads/run'
import { sharing } from '../threads/threads'

/** Its items are the chunks of the answer. */
export class ChatRun extends Run<UIMessageChunk> {
  /** What the user said; `undefined` if the run goes on with the assistant's last message. */
  prompt: UIMessage | undefined

  hear({ chunk, prompt }: JsonObject): boolean {
    const isChunk = isObject(chunk) && isText(chunk.type)
    if (isChunk) this.items.push(chunk as UIMessageChunk)
    else this.prompt = isObject(prompt) ? (prompt as unknown as UIMessage) : undefined
    return isChunk
  }

  protected close(reason: RunEnd) {
    // Version 7 knows the reason, and sends nothing by itself after it. Version 6 passes it on.
    // The error makes both show it.
    if (reason === 'interrupted') this.items.push({ type: 'finish', finishReason: 'interrupted' as never })
  }
}

export const threadsOf = sharing({ type: 'ui', Run: ChatRun })
