import type { UIMessageChunk } from 'ai'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { isObject, isText, parseJson } from '../../protocol'

/**
 * The chunks of a stream, or of a response as `createUIMessageStreamResponse` makes it. Whoever
 * stops asking cancels it, and so does `signal`.
 */
export async function* chunksOf(
  source: ReadableStream<UIMessageChunk> | Response,
  signal: AbortSignal,
): AsyncGenerator<UIMessageChunk> {
  const reader = (source instanceof ReadableStream ? source : readResponse(source)).getReader()
  const cancel = () => void reader.cancel(signal.reason).catch(() => {})
  signal.addEventListener('abort', cancel)
  try {
    for (let step = await reader.read(); !step.done; step = await reader.read()) yield step.value
  } finally {
    signal.removeEventListener('abort', cancel)
    cancel()
  }
}

/** Chunks that may be the last one of a response without the marker `[DONE]`. */
const ENDS: readonly string[] = ['finish', 'error', 'abort']

function readResponse({ body, headers }: Response): ReadableStream<UIMessageChunk> {
  const type = headers.get('Content-Type')
  if (!body || !type?.startsWith('text/event-stream')) {
    throw new TypeError(
      `uiMessageRuns: the response must be a UI message stream (text/event-stream), and it is ${body ? type : 'empty'}: ` +
        'end the route with toUIMessageStreamResponse()',
    )
  }
  let isWhole = false
  const decoder = new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>
  return body
    .pipeThrough(decoder)
    .pipeThrough(new EventSourceParserStream())
    .pipeThrough(
      new TransformStream({
        transform({ data }, controller) {
          if (data === '[DONE]') {
            isWhole = true
            return
          }
          const chunk = parseJson(data)
          if (!isObject(chunk) || !isText(chunk.type)) {
            throw new TypeError(`uiMessageRuns: no UI message chunk: ${data.slice(0, 200)}`)
          }
          isWhole ||= ENDS.includes(chunk.type)
          controller.enqueue(chunk as UIMessageChunk)
        },
        flush() {
          if (!isWhole) throw new TypeError("uiMessageRuns: the response was cut: it ended without 'finish' or [DONE]")
        },
      }),
    )
}
