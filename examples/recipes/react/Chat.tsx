import type { DeliveryStatus } from 'holdline'
import type { Chat as ChatStore } from '../chat'
import { useStore } from './connection'

const MARKS: Readonly<Record<DeliveryStatus, string>> = {
  queued: 'waits',
  sending: 'on its way',
  accepted: 'sent',
  rejected: 'not sent',
  // The truth: it was posted, and nobody knows.
  unknown: 'perhaps sent',
}

/** A prompt is there at once, offline too, and tells what becomes of it. */
export function Chat({ chat }: { chat: ChatStore }) {
  const bubbles = useStore(chat)
  return (
    <section>
      <ol>
        {bubbles.map(({ id, from, text, status }) => (
          <li key={id} className={from}>
            {text} {status && <small>{MARKS[status]}</small>}
          </li>
        ))}
      </ol>
      <form action={(form) => void chat.say(String(form.get('prompt')))}>
        <input name="prompt" aria-label="Prompt" required />
        <button type="submit">Send</button>
      </form>
    </section>
  )
}
