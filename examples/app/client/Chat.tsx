import type { SessionView } from 'holdline/react'
import { type UIEvent, useLayoutEffect, useMemo, useRef } from 'react'
import { isAnswering, runningIn, type Transcript } from '../shared/transcript'
import { Composer } from './Composer'
import { useCall, useOwnMessages, useSession } from './connection'
import { historyOf } from './history'
import { Answered, Asked, Own, type Place } from './Messages'

/** One session: what was said, what is on its way, and what is to be said next. */
export function Chat({ user, sessionId }: Place) {
  const call = useCall(user)
  const view = useSession(sessionId, historyOf(call))
  const { state: transcript, status } = view
  const own = useOwnMessages(sessionId, { shown: transcript })
  const place = useMemo(() => ({ user, sessionId }), [user, sessionId])
  const scroll = useEndInSight()
  if (status === 'gone' || status === 'forbidden') return <p role="alert">There is no such chat, or it is not yours.</p>
  return (
    <section className="chat" aria-label="Chat">
      <div role="log" aria-label="What was said" aria-busy={isAnswering(transcript)} {...scroll}>
        <Notice view={view} />
        <ol>
          {transcript.map((entry) =>
            entry.from === 'user' ? (
              <Asked key={entry.id} question={entry} place={place} />
            ) : (
              <Answered key={entry.id} answer={entry} />
            ),
          )}
          {own.map((message) => (
            <Own key={message.id} own={message} place={place} />
          ))}
        </ol>
      </div>
      <Composer place={place} answering={runningIn(transcript)} />
    </section>
  )
}

function Notice({ view: { status, error } }: { view: SessionView<Transcript> }) {
  if (error) return <p role="alert">This chat cannot be loaded. It is tried again.</p>
  if (status === 'loading') return <p role="status">Loading …</p>
  if (status === 'reset') return <p role="status">The server has lost a part of this chat. It is loaded again.</p>
  return null
}

/** Stays at the end while that is in sight. Whoever has scrolled up reads on where they are. */
function useEndInSight() {
  const ref = useRef<HTMLDivElement>(null)
  const isInSight = useRef(true)
  useLayoutEffect(() => {
    const { current } = ref
    if (current && isInSight.current) current.scrollTop = current.scrollHeight
  })
  return {
    ref,
    // What scrolls can be reached by the keyboard.
    tabIndex: 0,
    onScroll({ currentTarget: { scrollHeight, scrollTop, clientHeight } }: UIEvent) {
      isInSight.current = scrollHeight - scrollTop - clientHeight < 40
    },
  }
}
