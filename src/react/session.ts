import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import type { InboundMessage } from '../connection/messages'
import { viewOf } from '../sessions/audience'
import { sessionsOf } from '../sessions/sessions'
import type { SessionOptions, SessionView } from '../sessions/types'
import { useConnection } from './provider'

/**
 * The state of a session, made of its events by `reduce`, in which nothing is missing and nothing
 * is doubled: `status` says how far that holds. It is kept beside the connection, so components
 * come and go, and several share one. `null`: no session yet. Renders at most once per frame.
 */
export function useSession<State, Message extends object = InboundMessage>(
  id: string | null,
  options: SessionOptions<State, Message>,
): SessionView<State> {
  const sessions = sessionsOf(useConnection())
  const latest = useRef(options)
  // Before the effect that subscribes.
  useEffect(() => {
    latest.current = options
  })
  const { initial, cursor } = options
  const blank = useMemo(() => viewOf<State>({ initial, cursor } as never), [initial, cursor])
  const subscribe = useCallback(
    (listener: () => void) => (id === null ? () => {} : sessions.use(id, latest.current, listener)),
    [sessions, id],
  )
  return useSyncExternalStore(
    subscribe,
    () => (id === null ? blank : (sessions.view<State>(id) ?? blank)),
    () => blank,
  )
}

/**
 * Like `useSession`, but suspends until there is a state. Where `load` fails before that, its error
 * is thrown to the nearest error boundary; who renders it again loads again. On a server the
 * fallback of the nearest `Suspense` is rendered, unless `cursor` is given.
 */
export function useSessionSuspense<State, Message extends object = InboundMessage>(
  id: string,
  options: SessionOptions<State, Message>,
): SessionView<State> {
  const view = useSession(id, options)
  const sessions = sessionsOf(useConnection())
  if (view.status !== 'loading') return view
  if (typeof window === 'undefined') throw new Error('holdline/react: useSessionSuspense waits for the browser')
  const session = sessions.open(id, options)
  const { audience } = session
  if (audience.view.error !== null) {
    session.forgetSoon()
    throw audience.view.error
  }
  throw audience.ready
}
