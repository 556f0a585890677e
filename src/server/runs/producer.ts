import type { MaybePromise } from '../log/sessionLog'
import type { Produce } from './api'

/** The events of a producer, one by one. */
export interface Source {
  next(): Promise<IteratorResult<unknown, unknown>>
  /** No more are wanted. Waits for nothing. */
  cancel(reason: unknown): void
}

/** @throws TypeError if it is no stream of events */
export function sourceOf(stream: Awaited<ReturnType<Produce>>): Source {
  const { getReader, [Symbol.asyncIterator]: iterate } = Object(stream)
  if (typeof getReader === 'function') {
    const reader: ReadableStreamDefaultReader<unknown> = getReader.call(stream)
    return {
      next: () => reader.read() as Promise<IteratorResult<unknown, unknown>>,
      cancel: (reason) => dismiss(() => reader.cancel(reason)),
    }
  }
  if (typeof iterate !== 'function') throw new TypeError('produce must return an AsyncIterable or a ReadableStream')
  const iterator: AsyncIterator<unknown> = iterate.call(stream)
  return { next: async () => iterator.next(), cancel: () => dismiss(() => iterator.return?.()) }
}

/**
 * What a producer says after its run is over concerns only itself: most often that it was aborted.
 */
function dismiss(call: () => MaybePromise<unknown>) {
  void new Promise((resolve) => resolve(call())).catch(() => {})
}
