import type { Connection } from 'holdline'
import { type SessionOptions, type SessionView, sessionStore } from 'holdline/sessions'
import { type Accessor, createSignal, onCleanup } from 'solid-js'

/** A session as a signal, for as long as its owner lives. */
export function useSession<State, Message extends object>(
  connection: Connection,
  id: string,
  options: SessionOptions<State, Message>,
): Accessor<SessionView<State>> {
  const store = sessionStore(connection, id, options)
  const [view, setView] = createSignal(store.getSnapshot())
  onCleanup(store.subscribe((next) => setView(() => next)))
  return view
}
