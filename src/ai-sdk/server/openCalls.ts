import type { UIMessage, UIMessageChunk } from 'ai'
import { isObject, isText } from '../../protocol'

/** The tool calls that an answer leaves open: a tool of the client's, or an approval. */
export class OpenCalls {
  readonly #ids = new Set<string>()
  #isBroken = false

  see(chunk: UIMessageChunk) {
    switch (chunk.type) {
      case 'tool-input-available':
        // The provider's own calls are answered by the provider.
        if (!chunk.providerExecuted) this.#ids.add(chunk.toolCallId)
        break
      case 'tool-approval-request':
        this.#ids.add(chunk.toolCallId)
        break
      case 'tool-output-available':
      case 'tool-output-error':
      case 'tool-output-denied':
        this.#ids.delete(chunk.toolCallId)
        break
      case 'error':
      case 'abort':
        this.#isBroken = true
    }
  }

  /** Nothing, if the answer is broken anyway. */
  get ids(): readonly string[] {
    return this.#isBroken ? [] : [...this.#ids]
  }
}

/**
 * The outputs of the calls that the client answered, as its chat has them: so that everybody else's
 * has them too.
 */
export function* outputsOf(message: UIMessage, waitsFor: unknown): Generator<UIMessageChunk> {
  const ids: readonly unknown[] = isObject(waitsFor) && Array.isArray(waitsFor.toolCallIds) ? waitsFor.toolCallIds : []
  for (const part of message.parts) {
    if (!('toolCallId' in part) || !isText(part.toolCallId) || !ids.includes(part.toolCallId)) continue
    const { toolCallId } = part
    if (part.state === 'output-available') yield { type: 'tool-output-available', toolCallId, output: part.output }
    if (part.state === 'output-error')
      yield { type: 'tool-output-error', toolCallId, errorText: String(part.errorText) }
  }
}
