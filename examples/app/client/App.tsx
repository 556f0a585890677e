import { HoldlineProvider, useLineStatus } from 'holdline/react'
import { useEffect, useState } from 'react'
import { Chat } from './Chat'
import { lineOptions, resume, useHoldline, useLine } from './connection'
import { Login, LoginAgain, type User, whoAmI } from './Login'
import { go, useSessionId } from './place'
import { Sessions } from './Sessions'
import { Status } from './Status'

export function App() {
  const [user, setUser] = useUser()
  if (user === 'unknown') return <p role="status">Loading …</p>
  if (user === 'unreachable') return <p role="status">The server cannot be reached. Trying again …</p>
  if (user) return <Chats key={user.id} user={user.id} onLeave={() => setUser(null)} />
  return (
    <main className="entrance">
      <h1>Chat</h1>
      <Login onLogin={setUser} />
    </main>
  )
}

/** Asks until there is an answer: a server that is down has logged nobody out. */
function useUser() {
  const [user, setUser] = useState<User | null | 'unknown' | 'unreachable'>('unknown')
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const leaving = new AbortController()
    async function ask() {
      const answer = await whoAmI().catch(() => 'unreachable' as const)
      if (leaving.signal.aborted) return
      setUser(answer)
      if (answer === 'unreachable') timer = setTimeout(ask, 2_000)
    }
    void ask()
    return () => {
      leaving.abort()
      clearTimeout(timer)
    }
  }, [])
  return [user, setUser] as const
}

interface ChatsProps {
  readonly user: string
  readonly onLeave: () => void
}

/** The connection of one user: another user has another one, and nothing of the first. */
function Chats({ user, onLeave }: ChatsProps) {
  const connection = useHoldline(lineOptions(user), user)
  return (
    <HoldlineProvider connection={connection}>
      <Page user={user} onLeave={onLeave} />
    </HoldlineProvider>
  )
}

function Page({ user, onLeave }: ChatsProps) {
  const line = useLine()
  const sessionId = useSessionId()
  const { logOut, trouble } = useLogout(user, onLeave)
  const status = useLineStatus()
  const isExpired = status.status === 'stopped' && status.error.code === 'unauthorized'
  return (
    <div className="app">
      <header>
        <h1>Chat</h1>
        <Status />
        <button type="button" onClick={logOut}>
          Log out {user}
        </button>
        {trouble && <p role="alert">{trouble}</p>}
      </header>
      <Sessions user={user} chosen={sessionId} />
      <main>
        {sessionId ? (
          <Chat key={sessionId} user={user} sessionId={sessionId} />
        ) : (
          <p className="empty">Choose a chat, or begin a new one.</p>
        )}
      </main>
      {isExpired && (
        <LoginAgain user={user} onLogin={() => resume(line)}>
          <button type="button" onClick={logOut}>
            Not {user}? Log out
          </button>
        </LoginAgain>
      )}
    </div>
  )
}

/** Ends the line and deletes what is stored of the user, in every tab of this browser. */
function useLogout(user: string, onLeave: () => void) {
  const line = useLine()
  const [trouble, setTrouble] = useState('')

  function leave() {
    line.disconnect()
    line.clearOutbox()
    go('/')
    onLeave()
  }

  useEffect(() => {
    const tabs = new BroadcastChannel(`logout:${user}`)
    tabs.onmessage = leave
    return () => tabs.close()
  })

  async function logOut() {
    setTrouble('')
    const answer = await fetch('/api/logout', { method: 'POST' }).catch(() => null)
    // The cookie is still there, and would let the next one in.
    if (!answer?.ok) return setTrouble('Not logged out: the server cannot be reached.')
    const tabs = new BroadcastChannel(`logout:${user}`)
    tabs.postMessage('out')
    tabs.close()
    leave()
  }
  return { logOut, trouble }
}
