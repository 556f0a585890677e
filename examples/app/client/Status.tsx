import { type LineStatus, useLineStatus } from 'holdline/react'
import { resume, useLine } from './connection'

type Mood = 'online' | 'waiting' | 'stopped'

function describe(line: LineStatus): readonly [mood: Mood, text: string] {
  switch (line.status) {
    case 'online':
      return ['online', 'Online']
    case 'connecting':
      return ['waiting', 'Connecting …']
    case 'retrying':
      return ['waiting', 'Messages do not get through.']
    case 'stopped':
      return ['stopped', `Stopped: ${line.error.message}`]
    case 'idle':
      return ['stopped', 'Not connected']
  }
}

/** How the line is, and when it tries again. */
export function Status() {
  const connection = useLine()
  const line = useLineStatus()
  const [mood, text] = describe(line)
  return (
    <div className={`status ${mood}`}>
      <span role="status">{text}</span>
      {/* Not in the status: a screen reader would say every second. */}
      {line.status === 'retrying' && <span>Trying again in {line.retryIn / 1_000} s</span>}
      {(line.status === 'retrying' || mood === 'stopped') && (
        <button type="button" onClick={() => resume(connection)}>
          Try now
        </button>
      )}
    </div>
  )
}
