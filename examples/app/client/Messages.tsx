import type { DeliveryStatus } from 'holdline'
import type { OwnMessage } from 'holdline/react'
import type { Command, Upload } from '../shared/protocol'
import type { Answer, AnswerState, Question } from '../shared/transcript'
import { pathOf } from './connection'

type Prompt = OwnMessage<Extract<Command, { readonly type: 'send' }>>

/** Where files of a session are. */
export interface Place {
  readonly user: string
  readonly sessionId: string
}

export const Asked = ({ question: { text, files }, place }: { question: Question; place: Place }) => (
  <li className="user">
    <Text of="You" text={text} />
    <Files files={files} place={place} />
  </li>
)

const ENDS: Readonly<Record<AnswerState, string>> = {
  queued: 'Waits for the answer above.',
  running: '',
  finished: '',
  stopped: 'Stopped.',
  failed: 'The answer has failed. Ask again.',
  interrupted: 'The answer was interrupted: the server has restarted. Ask again.',
}

export const Answered = ({ answer: { text, state } }: { answer: Answer }) => (
  <li className={`agent ${state}`}>
    <Text of="Agent" text={text} />
    {ENDS[state] && <small>{ENDS[state]}</small>}
  </li>
)

/** A message that the transcript does not have yet: on its way, refused, or in doubt. */
export function Own({ own, place }: { own: Prompt; place: Place }) {
  const { message, status, repeat, dismiss } = own
  const hasFailed = status === 'rejected' || status === 'unknown'
  return (
    <li className={`user ${status}`}>
      <Text of="You" text={message.prompt} />
      <Files files={message.files} place={place} />
      <small role={hasFailed ? 'alert' : undefined}>{tell(own)}</small>
      {hasFailed && (
        <span className="choices">
          <button type="button" onClick={() => repeat()}>
            {status === 'unknown' ? 'Send again' : 'Try again'}
          </button>
          <button type="button" onClick={dismiss}>
            Dismiss
          </button>
        </span>
      )}
    </li>
  )
}

const STATES: Readonly<Record<DeliveryStatus, string>> = {
  queued: 'Waiting',
  sending: 'Sending …',
  accepted: 'Sent',
  rejected: 'Not sent',
  unknown: 'It is not known whether this has arrived.',
}

/** What the server says, in server/chat.ts, or the outbox. */
const REASONS: Readonly<Record<string, string>> = {
  busy: 'too many of your messages wait for an answer',
  'unknown-file': 'a file is not there any more',
  'outbox-full': 'too many messages wait for a connection',
  cancelled: 'it was taken back',
}

function tell({ status, error }: Prompt): string {
  if (status !== 'rejected' || !error) return STATES[status]
  return `${STATES[status]}: ${REASONS[String(error.reason)] ?? REASONS[error.code] ?? error.message}`
}

const Text = ({ of, text }: { of: string; text: string }) => (
  <p>
    <span className="hidden">{of}: </span>
    {text}
  </p>
)

function Files({ files, place: { user, sessionId } }: { files: readonly Upload[]; place: Place }) {
  if (files.length === 0) return null
  return (
    <ul className="files">
      {files.map(({ id, name, type, size }) => {
        const path = pathOf(user, `sessions/${sessionId}/files/${id}`)
        return (
          <li key={id}>
            <a href={path} download={name}>
              {type.startsWith('image/') ? <img src={path} alt={name} /> : `${name} (${Math.ceil(size / 1_024)} KiB)`}
            </a>
          </li>
        )
      })}
    </ul>
  )
}
