import { useEffect, useMemo, useSyncExternalStore } from 'react'
import type { OfType, OutboundMessage, Typed } from '../connection/messages'
import { type OwnMessage, type OwnOptions, ownMessagesOf, shownBy } from '../sessions/ownMessages'
import { useConnection } from './provider'

const NONE: readonly never[] = []
const none = () => NONE

/**
 * The messages of this page to a session, oldest first, from `send` until the transcript has them;
 * those that were refused, or are in doubt, until they are dismissed or repeated. They are kept
 * beside the connection, so components come and go. `null`: no session yet.
 */
export function useOwnMessages<Outbound extends Typed = OutboundMessage, Type extends string = 'send'>(
  sessionId: string | null,
  { shown, type }: OwnOptions<Outbound, Type>,
): readonly OwnMessage<OfType<Outbound, Type>>[] {
  const own = ownMessagesOf(useConnection())
  const { subscribe, getSnapshot } = useMemo(() => own.store(sessionId, type ?? 'send'), [own, sessionId, type])
  const all = useSyncExternalStore(subscribe, getSnapshot, none)
  const isShown = useMemo(() => shownBy(shown as never), [shown])
  useEffect(() => own.seen(all.filter(isShown)), [own, all, isShown])
  return useMemo(() => all.filter((message) => !isShown(message)), [all, isShown]) as never
}
