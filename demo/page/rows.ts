import type { Outgoing, Row } from './chatView'
import type { Saved } from './storage'

/**
 * The turns of the conversation, and behind them the messages that have not become one yet. Pure.
 */
export function rowsOf({ transcript, cursor }: Saved, outgoing: readonly Outgoing[]): readonly Row[] {
  const bySender = new Map(outgoing.map((message) => [message.id, message]))
  const turns = transcript.turns.map((turn): Row => {
    const { turnId: id, prompt } = turn
    const own = bySender.get(id)
    bySender.delete(id)
    return { id, prompt, turn, outgoing: own, isOfOtherChat: false }
  })
  const travelling = [...bySender.values()].map((own): Row => {
    const { id, prompt, sessionId } = own
    return { id, prompt, turn: undefined, outgoing: own, isOfOtherChat: sessionId !== cursor.sessionId }
  })
  return [...turns, ...travelling]
}
