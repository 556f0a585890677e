import type { State } from './move'

export const always: State = () => true
export const never: State = () => false
export const isIn =
  (...states: readonly string[]): State =>
  ({ value }) =>
    states.some((state) => JSON.stringify(value).includes(`"${state}"`))
export const isActive: State = (snapshot) => !snapshot.hasTag('idle')
export const isStreaming: State = (snapshot) => isActive(snapshot) && !snapshot.hasTag('backoff')
export const isUnwelcomed = isIn('connecting', 'awaitingWelcome')
export const isResuming: State = (snapshot) => snapshot.hasTag('reconnecting')
/** The resume POST is not answered yet. */
export const isPosting = isIn('posting', 'confirming')
export const isOpen: State = (snapshot) => snapshot.hasTag('open')
/** The gate of the outbox is open. */
export const mayPost = isIn('steady', 'probing')
/** The first POST that is answered is news. */
export const isDoubted: State = (snapshot) => mayPost(snapshot) && snapshot.context.trust === 'lost'
export const isWelcomed: State = (snapshot) => isResuming(snapshot) || isOpen(snapshot)
/** The server has something to detach. */
export const canSuspend = isIn('steady', 'probing', 'doubting', 'suspended')
export const isWatched: State = ({ context }) => context.heartbeat !== null
