import type { ConnectionSnapshot } from 'holdline'

/**
 * How it stands, in words. An open line alone does not say that the server takes what is sent:
 * `outbox.state` does.
 */
export function statusOf({ phase, pendingCount, outbox, retryAt, lastError }: ConnectionSnapshot): string {
  const again = (at: number | null) => (at === null ? '' : `, again at ${new Date(at).toLocaleTimeString()}`)
  const waiting = pendingCount ? `, ${pendingCount} waiting` : ''
  if (phase === 'idle') return `not connected${lastError ? `: ${lastError.message}` : ''}${waiting}`
  if (phase === 'backoff') return `no connection${again(retryAt)}${waiting}`
  if (phase !== 'open' || outbox.state === 'held') return `connecting${waiting}`
  if (outbox.state === 'pausing') return `the server takes no messages${again(outbox.retryAt)}${waiting}`
  return pendingCount ? `sending ${pendingCount} …` : 'online'
}
