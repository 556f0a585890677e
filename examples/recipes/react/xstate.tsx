import { useSelector } from '@xstate/react'
import { phase } from 'holdline/machine'
import { useConnection } from './connection'

/** Renders when the phase changes, and for nothing else. */
export const usePhase = () => useSelector(useConnection().actor, phase)

/** How often in a row it has failed: from the machine's own context. */
export const useAttempt = () => useSelector(useConnection().actor, ({ context }) => context.attempt)

export function Banner() {
  const isOpen = usePhase() === 'open'
  const attempt = useAttempt()
  return isOpen ? null : (
    <p role="status">{attempt < 3 ? 'Connecting …' : 'Still no connection. What you write is kept.'}</p>
  )
}
