import { type FormEvent, type ReactNode, useEffect, useId, useRef, useState } from 'react'

export interface User {
  readonly id: string
}

/**
 * Null: nobody is logged in.
 *
 * @throws Error where the server does not say.
 */
export async function whoAmI(): Promise<User | null> {
  const answer = await fetch('/api/me')
  if (answer.status === 401) return null
  if (!answer.ok) throw new Error(`GET me: the server answered ${answer.status}`)
  return (await answer.json()).user
}

interface LoginProps {
  /** The only one who may log in here. Default: anybody. */
  readonly user?: string
  readonly onLogin: (user: User) => void
}

export function Login({ user, onLogin }: LoginProps) {
  const [trouble, setTrouble] = useState('')
  const id = useId()

  async function enter(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    setTrouble('')
    try {
      const body = JSON.stringify(Object.fromEntries(new FormData(event.currentTarget)))
      const headers = { 'Content-Type': 'application/json' }
      const answer = await fetch('/api/login', { method: 'POST', headers, body })
      if (answer.ok) onLogin((await answer.json()).user)
      else setTrouble(answer.status === 401 ? 'Name or password is wrong.' : `The server answered ${answer.status}.`)
    } catch {
      setTrouble('The server cannot be reached. Try again.')
    }
  }

  return (
    <form className="login" onSubmit={enter}>
      <label htmlFor={`${id}-name`}>Name</label>
      <input id={`${id}-name`} name="name" autoComplete="username" required defaultValue={user} readOnly={!!user} />
      <label htmlFor={`${id}-password`}>Password</label>
      <input id={`${id}-password`} name="password" type="password" autoComplete="current-password" required />
      {trouble && <p role="alert">{trouble}</p>}
      <button type="submit">Log in</button>
    </form>
  )
}

interface LoginAgainProps extends LoginProps {
  readonly user: string
  /** E.g. for somebody else to log in. */
  readonly children: ReactNode
}

/** Over the page, which stays as it is: with what is typed, and with what waits to be sent. */
export function LoginAgain({ user, onLogin, children }: LoginAgainProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const title = useId()
  useEffect(() => {
    const { current } = dialog
    current?.showModal()
    return () => current?.close()
  }, [])
  return (
    <dialog ref={dialog} aria-labelledby={title} onCancel={(event) => event.preventDefault()}>
      <h2 id={title}>Your login has expired</h2>
      <p>Log in again to go on. What you have written is still here.</p>
      <Login user={user} onLogin={onLogin} />
      {children}
    </dialog>
  )
}
