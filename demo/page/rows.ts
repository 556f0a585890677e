import type { Outgoing, Row } from './rowView'
import type { Saved } from './storage'

/**
 * What the server has lost, the turns of the conversation, and behind them the messages that have
 * not become one yet. Pure.
 */
export function rowsOf({ chapters, transcript, cursor }: Saved, outgoing: readonly Outgoing[]): readonly Row[] {
  const past = chapters.flatMap(({ turns, why }, chapter): readonly Row[] => [
    // The server may have begun anew with a message that it had before.
    ...turns.map((turn): Row => ({ kind: 'past', key: `${chapter} ${turn.turnId}`, prompt: turn.prompt, turn })),
    { kind: 'break', key: `break ${chapter}`, text: why },
  ])
  const bySender = new Map(outgoing.map((message) => [message.id, message]))
  const turns = transcript.turns.map((turn): Row => {
    const { turnId: key, prompt } = turn
    const own = bySender.get(key)
    bySender.delete(key)
    return { kind: 'turn', key, prompt, turn, outgoing: own, isOfOtherChat: false }
  })
  const travelling = [...bySender.values()].map((own): Row => {
    const { id: key, prompt, sessionId } = own
    const isOfOtherChat = sessionId !== cursor.sessionId
    return { kind: 'turn', key, prompt, turn: undefined, outgoing: own, isOfOtherChat }
  })
  return [...past, ...turns, ...travelling]
}
