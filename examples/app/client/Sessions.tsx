import { type MouseEvent, useEffect, useState } from 'react'
import type { SessionInfo } from '../shared/protocol'
import { useCall, useLine } from './connection'
import { addressOf, go } from './place'

interface SessionsProps {
  readonly user: string
  readonly chosen: string | null
}

/** The chats of the user, the newest first. */
export function Sessions({ user, chosen }: SessionsProps) {
  const { sessions, create, trouble } = useSessions(user)
  return (
    <nav aria-label="Chats">
      <button type="button" onClick={create}>
        New chat
      </button>
      {trouble && <p role="alert">{trouble}</p>}
      <ul>
        {sessions.map(({ id, title }) => (
          <li key={id}>
            <a href={addressOf(id)} onClick={choose} aria-current={id === chosen ? 'page' : undefined}>
              {title ?? 'New chat'}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  )
}

function choose(event: MouseEvent<HTMLAnchorElement>) {
  // Another tab, or a download, is the browser's to open.
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  event.preventDefault()
  go(event.currentTarget.pathname)
}

function useSessions(user: string) {
  const line = useLine()
  const call = useCall(user)
  const [sessions, setSessions] = useState<readonly SessionInfo[]>([])
  const [trouble, setTrouble] = useState('')

  useEffect(() => {
    async function load() {
      const answer = await call('sessions').catch(() => null)
      if (answer?.ok) setSessions(await answer.json())
    }
    const offs = [
      // Other tabs and devices may have begun some meanwhile.
      line.on('opened', () => void load()),
      line.on('message', (event) => {
        if (event.type !== 'title') return
        const { sessionId, title } = event
        setSessions((all) => all.map((session) => (session.id === sessionId ? { ...session, title } : session)))
      }),
    ]
    if (line.isOpen) void load()
    return () => {
      for (const off of offs) off()
    }
  }, [line, call])

  async function create() {
    const answer = await call('sessions', { method: 'POST' }).catch(() => null)
    setTrouble(answer?.ok ? '' : answer?.status === 403 ? 'You have too many chats.' : 'This needs a connection.')
    if (!answer?.ok) return
    const session: SessionInfo = await answer.json()
    setSessions((all) => [session, ...all.filter(({ id }) => id !== session.id)])
    go(addressOf(session.id))
  }

  return { sessions, create, trouble }
}
