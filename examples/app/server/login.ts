import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import type { Settings } from './settings'

// Who asks, and from which page. Put your own users in the place of `settings.users`; the rest of
// the app knows no more of them than an id.

export interface User {
  readonly id: string
}

export type Login = ReturnType<typeof createLogin>

const credentials = z.object({ name: z.string(), password: z.string() })
/** `login=<id>.<when it expires>.<signature>` */
const COOKIE = /(?:^|; *)login=([a-z0-9_-]+)\.(\d+)\.([\w-]+)(?:;|$)/
/** Before a wrong password is told, ms. A proxy limits how many may be tried: see README.md. */
const PATIENCE = 500

export function createLogin({ secret, users, loginAge, origin }: Settings) {
  const sign = (text: string) => createHmac('sha256', secret).update(text).digest('base64url')
  /** With the password in it, so that a new password ends all logins. */
  const signatureOf = (id: string, expires: string) => sign(JSON.stringify([id, expires, users.get(id)]))
  /** [spec] `Strict`: no other site makes a browser send it. `HttpOnly`: no script reads it. */
  const cookie = (value: string, seconds: number) =>
    `login=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${seconds}${origin?.startsWith('https:') ? '; Secure' : ''}`
  /** Logins that were ended, and when they expire. With several processes: in what they share. */
  const ended = new Map<string, number>()

  /** Null for a stranger, and when the login has expired or was ended. */
  function loginOf(request: Request) {
    const [, id = '', expires = '', signature = ''] = COOKIE.exec(request.headers.get('Cookie') ?? '') ?? []
    const isValid = users.has(id) && isSame(signature, signatureOf(id, expires)) && Number(expires) > Date.now()
    return isValid && !ended.has(signature) ? { id, signature, expires: Number(expires) } : null
  }

  return {
    userOf(request: Request): User | null {
      const login = loginOf(request)
      return login && { id: login.id }
    },

    /** Null for whoever does not know the password. */
    async enter(given: unknown): Promise<{ readonly user: User; readonly cookie: string } | null> {
      const { name: id, password } = credentials.safeParse(given).data ?? { name: '', password: '' }
      // Compared for unknown names too: how long it takes says nothing.
      const isRight = isSame(password, users.get(id) ?? sign(password))
      if (!isRight) {
        await delay(PATIENCE)
        return null
      }
      const expires = String(Date.now() + loginAge)
      return { user: { id }, cookie: cookie(`${id}.${expires}.${signatureOf(id, expires)}`, loginAge / 1_000) }
    },

    /**
     * Ends the login of this request. A cookie alone would be good until it expires: for a tab that
     * comes back before the answer has taken it away. Returns the cookie that takes its place.
     */
    leave(request: Request): string {
      const login = loginOf(request)
      for (const [signature, expires] of ended) if (expires <= Date.now()) ended.delete(signature)
      if (login) ended.set(login.signature, login.expires)
      return cookie('', 0)
    },

    /** Pages of other origins may not change anything. The chat itself judges by the same rule. */
    isOwnPage({ headers, url }: Request): boolean {
      const from = headers.get('Origin')
      if (from === null) return true
      if (origin) return from === origin
      const site = headers.get('Sec-Fetch-Site')
      return site ? site === 'same-origin' : from === `http://${headers.get('Host') ?? new URL(url).host}`
    },
  }
}

const digestOf = (text: string) => createHash('sha256').update(text).digest()
const isSame = (one: string, other: string) => timingSafeEqual(digestOf(one), digestOf(other))
