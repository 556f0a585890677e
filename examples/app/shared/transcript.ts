import type { ChatEvent, Upload } from './protocol'

// What was said in a session, made of its events. The page reduces what it hears, the server what
// is in its log, and both come to the same.

export type AnswerState = 'queued' | 'running' | Extract<ChatEvent, { readonly type: 'run.ended' }>['reason']

export interface Question {
  readonly from: 'user'
  readonly id: string
  readonly text: string
  readonly files: readonly Upload[]
}

export interface Answer {
  readonly from: 'agent'
  /** The name of its run. */
  readonly id: string
  readonly text: string
  readonly state: AnswerState
}

export type Transcript = readonly (Question | Answer)[]

export const EMPTY: Transcript = []

/** Events that come again, from the first on, change nothing in the end. */
export function reduce(transcript: Transcript, event: ChatEvent): Transcript {
  switch (event.type) {
    case 'prompt': {
      const { id, text, files } = event
      return transcript.some((entry) => entry.id === id)
        ? transcript
        : [...transcript, { from: 'user', id, text, files }]
    }
    case 'run.queued':
      return put(transcript, { from: 'agent', id: event.run, text: '', state: 'queued' })
    case 'run.started':
      return put(transcript, { from: 'agent', id: event.run, text: '', state: 'running' })
    case 'token': {
      const answer = runningIn(transcript)
      return answer ? put(transcript, { ...answer, text: answer.text + event.text }) : transcript
    }
    case 'run.ended':
      return transcript.map((entry) => (isAnswer(entry) && entry.id === event.run ? end(entry, event.reason) : entry))
    default:
      return transcript
  }
}

/** The answer that is being made. A session has one at a time. */
export const runningIn = (transcript: Transcript) =>
  transcript.findLast((entry) => isAnswer(entry) && entry.state === 'running') as Answer | undefined

/** Whether an answer is being made, or is still to come. */
export const isAnswering = (transcript: Transcript) => transcript.some(isUnfinished)

/** Of what is not finished nothing more will come: what made it is gone. */
export const breakOff = (transcript: Transcript): Transcript =>
  transcript.map((entry) => (isUnfinished(entry) ? end(entry, 'interrupted') : entry))

const isAnswer = (entry: Question | Answer): entry is Answer => entry.from === 'agent'
const isUnfinished = (entry: Question | Answer): entry is Answer =>
  isAnswer(entry) && (entry.state === 'running' || entry.state === 'queued')
const end = (answer: Answer, state: AnswerState): Answer => ({ ...answer, state })

/** In its place, or at the end. */
function put(transcript: Transcript, answer: Answer): Transcript {
  const at = transcript.findLastIndex(({ id }) => id === answer.id)
  return at < 0 ? [...transcript, answer] : transcript.with(at, answer)
}
