import { useSelector } from '@xstate/react'
import type { Connection } from 'holdline'
import { phase } from 'holdline/machine'
import { useConnection } from './connection'

/** Renders when the phase changes, and for nothing else. */
export const usePhase = ({ actor }: Connection) => useSelector(actor, phase)

/** How often in a row it has failed: from the machine's own context. */
export const useAttempt = ({ actor }: Connection) => useSelector(actor, ({ context }) => context.attempt)

export function Banner() {
  const connection = useConnection()
  const isOpen = usePhase(connection) === 'open'
  const attempt = useAttempt(connection)
  return isOpen ? null : (
    <p role="status">{attempt < 3 ? 'Connecting …' : 'Still no connection. What you write is kept.'}</p>
  )
}
