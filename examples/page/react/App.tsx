import { createHooks, HoldlineProvider, type Loaded, useLineStatus } from 'holdline/react'
import { persist } from 'holdline/storage'
import { type FormEvent, useEffect, useState } from 'react'
import { ask } from '../ask'
import { chat, type Entries, initial, REASONS, reduce } from '../shared'

const { useConnection, useHoldline, useOwnMessages, useSession } = createHooks(chat)

export function App() {
  const [user, setUser] = useState<string | null>()
  const [isDown, setDown] = useState(false)
  useEffect(() => {
    async function look() {
      try {
        setUser((await ask<{ user: string | null }>('/api/me')).user)
      } catch {
        // A server that is down has logged nobody out.
        setDown(true)
        setTimeout(look, 2_000)
      }
    }
    look()
  }, [])
  if (user) return <Line user={user} onLeave={() => setUser(null)} />
  if (user === undefined) return <p>{isDown ? 'The server is down. Trying again …' : 'Loading …'}</p>
  const enter = (user: string) => ask('/api/login', { user }).then(() => setUser(user))
  return ['ann', 'ben'].map((name) => (
    <button type="button" key={name} onClick={() => enter(name)}>
      I am {name}
    </button>
  ))
}

interface Mine {
  readonly user: string
  onLeave(): void
}

function Line({ user, onLeave }: Mine) {
  const storage = persist(() => localStorage, { key: user })
  const connection = useHoldline({ url: `/api/users/${user}/chat`, storage }, user)
  return (
    <HoldlineProvider connection={connection}>
      <Chat user={user} onLeave={onLeave} />
    </HoldlineProvider>
  )
}

function Chat({ user, onLeave }: Mine) {
  const line = useConnection()
  const load = () => ask<Loaded<Entries>>(`/api/users/${user}/history`)
  const { state: entries } = useSession(user, { initial, reduce, load })
  const own = useOwnMessages(user, { shown: entries })
  const running = entries.findLast(({ state }) => state === 'running')
  const [draft, setDraft] = useState('')
  function send(event: FormEvent) {
    event.preventDefault()
    line.send({ type: 'send', sessionId: user, prompt: draft })
    setDraft('')
  }
  function edit(prompt: string, dismiss: () => void) {
    setDraft(prompt)
    dismiss()
  }
  async function logOut() {
    try {
      await ask('/api/logout', {})
    } catch {
      return alert('Not logged out: the server cannot be reached.')
    }
    line.clearOutbox()
    onLeave()
  }
  return (
    <>
      <Banner onLeave={onLeave} />
      <ul>
        {entries.map(({ id, from, text, state }) => (
          <li key={id}>
            {from}: {text} <small>{state}</small>
          </li>
        ))}
        {own.map(({ id, message: { prompt }, status, error, dismiss }) => (
          <li key={id}>
            me: {prompt} <small>{status}</small>
            {status === 'rejected' && (
              <button type="button" onClick={() => edit(prompt, dismiss)}>
                {REASONS[error?.reason ?? ''] ?? error?.message} Edit
              </button>
            )}
          </li>
        ))}
      </ul>
      <form onSubmit={send}>
        <input value={draft} onChange={({ target }) => setDraft(target.value)} aria-label="Prompt" required />
        <button type="submit">Send</button>
      </form>
      {running && (
        <button type="button" onClick={() => line.send({ type: 'stop', sessionId: user, run: running.id })}>
          Stop
        </button>
      )}
      <button type="button" onClick={logOut}>
        Log out {user}
      </button>
    </>
  )
}

function Banner({ onLeave }: Pick<Mine, 'onLeave'>) {
  const line = useLineStatus()
  const isOut = line.status === 'stopped' && line.error.code === 'unauthorized'
  useEffect(() => {
    if (isOut) onLeave()
  })
  if (line.status === 'retrying') return <p role="status">Trying again in {line.retryIn / 1_000} s</p>
  if (line.status === 'stopped') return <p role="alert">Not connected: {line.error.message}</p>
  return line.status === 'connecting' && <p role="status">Connecting …</p>
}
