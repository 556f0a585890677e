import { useSyncExternalStore } from 'react'

// The session that is shown is in the address: it can be reloaded, kept and gone back to.

const read = () => /^\/s\/([\w-]+)$/.exec(location.pathname)?.[1] ?? null

function subscribe(listener: () => void) {
  addEventListener('popstate', listener)
  return () => removeEventListener('popstate', listener)
}

export const useSessionId = () => useSyncExternalStore(subscribe, read)

export const addressOf = (sessionId: string) => `/s/${sessionId}`

export function go(address: string) {
  history.pushState(null, '', address)
  dispatchEvent(new PopStateEvent('popstate'))
}
