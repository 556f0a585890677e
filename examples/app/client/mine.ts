import type { Delivery } from 'holdline'
import { useEffect, useSyncExternalStore } from 'react'
import type { Command } from '../shared/protocol'
import type { Transcript } from '../shared/transcript'
import { type Line, useLine } from './connection'

export type Prompt = Extract<Command, { readonly type: 'send' }>
export type OwnMessage = Delivery<Prompt>
export type Mine = ReturnType<typeof createMine>

/**
 * Own messages from the moment they are sent until the transcript has them; those that were
 * refused, or are in doubt, until the user has dismissed them. `connection.pending` alone would
 * lose a message between its receipt and its event, and all that ended badly.
 */
export function createMine(line: Line) {
  let shown: readonly OwnMessage[] = []
  const listeners = new Set<() => void>()

  function show(next: readonly OwnMessage[]) {
    shown = next
    for (const listener of listeners) listener()
  }
  function add(delivery: OwnMessage) {
    if (!shown.includes(delivery)) show([...shown, delivery])
  }
  /** Those of the page before a reload, too. */
  function addPending() {
    for (const delivery of line.pending) if (delivery.message.type === 'send') add(delivery as OwnMessage)
  }
  line.on('delivery', addPending)
  addPending()

  return {
    /** `id`: of a message that it repeats, so that it is run once. */
    say({ sessionId, prompt, files }: Omit<Prompt, 'type'>, id?: string) {
      add(line.send({ type: 'send', sessionId, prompt, files }, { id }) as OwnMessage)
    },
    forget: (id: string) => show(shown.filter((delivery) => delivery.id !== id)),
    getSnapshot: () => shown,
    subscribe(listener: () => void) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

const known = new WeakMap<Line, Mine>()

/** One for each connection, however often it is asked for. */
export function mineOf(line: Line): Mine {
  const mine = known.get(line) ?? createMine(line)
  known.set(line, mine)
  return mine
}

/** Those of a session that its transcript does not have. */
export function useOwnMessages(sessionId: string, transcript: Transcript): readonly OwnMessage[] {
  const mine = mineOf(useLine())
  const all = useSyncExternalStore(mine.subscribe, mine.getSnapshot)
  const isThere = ({ id }: OwnMessage) => transcript.some((entry) => entry.id === id)
  useEffect(() => {
    for (const delivery of all) if (delivery.status === 'accepted' && isThere(delivery)) mine.forget(delivery.id)
  })
  return all.filter((delivery) => delivery.message.sessionId === sessionId && !isThere(delivery))
}
