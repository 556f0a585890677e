import type { InboundMessage, SessionNews } from 'holdline'

/** What the page shows of one session: a bubble per answer. */
export type Transcript = readonly { readonly answer: number; readonly text: string }[]

export type Reducer = (transcript: Transcript, event: InboundMessage | SessionNews) => Transcript

export const reducer: Reducer = (transcript, event) => {
  // History was lost: what is shown belongs to nothing any more.
  if (event.status === 'reset') return []
  if (!('type' in event) || event.type !== 'token') return transcript
  const answer = Number(event.answer)
  const text = String(event.text)
  const known = transcript.find((bubble) => bubble.answer === answer)
  if (!known) return [...transcript, { answer, text }]
  return transcript.map((bubble) => (bubble === known ? { answer, text: bubble.text + text } : bubble))
}

/**
 * As it was first written. It passed every test that was made by hand: nobody had restarted a
 * server in the middle of an answer.
 */
export const firstDraft: Reducer = (transcript, event) => {
  if (!('type' in event) || event.type !== 'token') return transcript
  const last = transcript.at(-1)
  const [answer, text] = [Number(event.answer), String(event.text)]
  if (last?.answer !== answer) return [...transcript, { answer, text }]
  return [...transcript.slice(0, -1), { answer, text: last.text + text }]
}
