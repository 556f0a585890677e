import type { BaseEvent } from '@ag-ui/client'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { parseJson } from '../../protocol'
import { isEvent } from '../wire'

/** What is left of an Observable of RxJS that this module needs. */
export interface Subscribable<T> {
  subscribe(observer: { next(value: T): void; error(error: unknown): void; complete(): void }): { unsubscribe(): void }
}

/** An event of AG-UI, of whichever of its packages. */
export interface AguiEvent {
  readonly type: string
}

/** An agent's events, or a response as an AG-UI endpoint makes it. */
export type AguiSource = AsyncIterable<AguiEvent> | Subscribable<AguiEvent> | Response

/** Who stops asking cancels it, and so does `signal`. */
export async function* eventsOf(source: AguiSource, signal: AbortSignal): AsyncGenerator<BaseEvent> {
  const iterator = iterableOf(source)[Symbol.asyncIterator]()
  const cancelled = new Promise<{ readonly done: true; readonly value: undefined }>((resolve) => {
    signal.addEventListener('abort', () => resolve({ done: true, value: undefined }), { once: true })
  })
  try {
    for (;;) {
      const step = await Promise.race([iterator.next(), cancelled])
      if (step.done) return
      if (!isEvent(step.value))
        throw new TypeError(`aguiRuns: no AG-UI event: ${JSON.stringify(step.value)?.slice(0, 200)}`)
      yield step.value
    }
  } finally {
    // One that waits for something of its own may never answer this.
    void Promise.resolve(iterator.return?.()).catch(() => {})
  }
}

function iterableOf(source: AguiSource): AsyncIterable<AguiEvent> {
  const given: unknown = source
  if (typeof given === 'object' && given !== null) {
    if (Symbol.asyncIterator in source) return source
    if ('subscribe' in source) return readObservable(source)
    // No instanceof: servers replace the global Response.
    if ('headers' in source) return readResponse(source)
  }
  throw new TypeError(`aguiRuns: no AsyncIterable, Observable or Response of AG-UI events: ${String(given)}`)
}

/** An Observable cannot be asked to wait: what the log is too slow for is kept here. */
function readObservable(source: Subscribable<AguiEvent>): ReadableStream<AguiEvent> {
  let subscription: { unsubscribe(): void } | undefined
  return new ReadableStream({
    start(controller) {
      subscription = source.subscribe({
        next: (event) => controller.enqueue(event),
        error: (error) => controller.error(error),
        complete: () => controller.close(),
      })
    },
    cancel: () => subscription?.unsubscribe(),
  })
}

function readResponse({ body, headers, status }: Response): ReadableStream<BaseEvent> {
  const type = headers.get('Content-Type')
  if (!body || !type?.startsWith('text/event-stream')) {
    throw new TypeError(
      `aguiRuns: the response must be a stream of AG-UI events (text/event-stream), and it is ${body ? type : 'empty'} (${status})`,
    )
  }
  const decoder = new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>
  return body
    .pipeThrough(decoder)
    .pipeThrough(new EventSourceParserStream())
    .pipeThrough(
      new TransformStream({
        transform({ data }, controller) {
          const event = parseJson(data)
          if (!isEvent(event)) throw new TypeError(`aguiRuns: no AG-UI event: ${data.slice(0, 200)}`)
          controller.enqueue(event)
        },
      }),
    )
}
