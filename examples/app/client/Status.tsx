import type { ConnectionSnapshot } from 'holdline'
import { useConnectionStatus, useRetryCountdown } from 'holdline/react'
import { resume, useLine } from './connection'

type Mood = 'online' | 'waiting' | 'stopped'

function describe({ phase, outbox, lastError }: ConnectionSnapshot): readonly [mood: Mood, text: string] {
  if (phase === 'idle') return ['stopped', lastError ? `Stopped: ${lastError.message}` : 'Not connected']
  if (phase === 'backoff') return ['waiting', 'No connection.']
  if (phase !== 'open' || outbox.state === 'held') return ['waiting', 'Connecting …']
  // The stream is up, and what is sent is not taken.
  if (outbox.state === 'pausing') return ['waiting', 'The server takes no messages.']
  return ['online', 'Online']
}

/** How the line is, and when it tries again. */
export function Status() {
  const line = useLine()
  const snapshot = useConnectionStatus()
  const seconds = useRetryCountdown()
  const [mood, text] = describe(snapshot)
  return (
    <div className={`status ${mood}`}>
      <span role="status">{text}</span>
      {/* Not in the status: a screen reader would say every second. */}
      {seconds !== null && <span>Trying again in {seconds} s</span>}
      {(snapshot.phase === 'backoff' || snapshot.phase === 'idle') && (
        <button type="button" onClick={() => resume(line)}>
          Try now
        </button>
      )}
    </div>
  )
}
