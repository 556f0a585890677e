import { ConnectionError } from '../errors'
import type { Notifier } from './notifier'

/** Settles with the next word on the line: nothing, it is open; an error, it will not be. */
export function whenOpen(notifier: Notifier, signal: AbortSignal | undefined): Promise<void> {
  let end = () => {}
  return new Promise<void>((resolve, reject) => {
    const unsubscribe = notifier.on('line', (error) => (error ? reject(error) : resolve()))
    // React Native knows no reasons.
    const abort = () => reject(signal?.reason ?? new ConnectionError('cancelled', 'the signal was aborted'))
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort)
    end = () => {
      unsubscribe()
      signal?.removeEventListener('abort', abort)
    }
  }).finally(() => end())
}
