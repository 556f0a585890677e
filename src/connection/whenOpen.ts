import { ConnectionError } from '../errors'
import { check, isSignal } from './checks'
import type { Line } from './line'
import type { Notifier } from './notifier'

// The `line` subscribers of the notifier wait for one word: nothing, it is open; an error, it will
// not be.

/** Settles with the next word on the line; at once, where the line is open or has ended. */
export function whenOpen(line: Line, notifier: Notifier, signal: AbortSignal | undefined): Promise<void> {
  if (signal !== undefined) check('signal', signal, isSignal)
  let end = () => {}
  const open = new Promise<void>((resolve, reject) => {
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
  if (line.phase() === 'open') notifier.tell('line')
  else if (line.state !== 'running') abandon(notifier, 'disposed')
  return open
}

/** The app itself sees to it that the line does not open. */
export const abandon = (notifier: Notifier, code: 'cancelled' | 'disposed') =>
  notifier.tell('line', new ConnectionError(code, 'by disconnect() or dispose()'))

/**
 * Tells those who wait for the line, and reports a line that does not open at all: `closed` tells
 * how an open one is lost. A login page in the place of the stream is reported in any case.
 */
export function tellOfLine(line: Line, notifier: Notifier, url: string) {
  let told: 'nothing' | 'open' | ConnectionError['code'] = 'nothing'
  notifier.on('phase', () => {
    const phase = line.phase()
    if (phase === 'open') {
      told = phase
      notifier.tell('line')
    } else if (phase === 'idle') abandon(notifier, 'cancelled')
    if (phase !== 'backoff') return
    const { code, message, ...details } = line.context().lastError as ConnectionError
    if (told === code || (told !== 'nothing' && code !== 'redirected')) return
    told = code
    notifier.report(new ConnectionError(code, `not connected to ${url}, but trying: ${message}`, details))
  })
}
