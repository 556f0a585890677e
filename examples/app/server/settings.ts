import { resolve } from 'node:path'

/** What this app is told by the environment. README.md has the list. */
export interface Settings {
  readonly isDevelopment: boolean
  readonly host: string
  readonly port: number
  /** The folder of transcripts and uploads. */
  readonly data: string
  /** Where browsers find the app. In development: wherever they do. */
  readonly origin: string | undefined
  /** Signs the cookies. */
  readonly secret: string
  /** Names, and their passwords. */
  readonly users: ReadonlyMap<string, string>
  /** How long a login is good for, ms. */
  readonly loginAge: number
}

/** @throws Error which names the variable that is missing, or is not what it has to be */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const isDevelopment = env.NODE_ENV === 'development'
  const read = (name: string, what: string, whileDeveloping: string) => {
    const value = env[name] || (isDevelopment ? whileDeveloping : '')
    if (value) return value
    throw new Error(`${name} is not set. It has to be ${what}. (\`npm run dev\` needs no settings.)`)
  }
  const origin = read('APP_ORIGIN', 'the address of the page, e.g. https://chat.example', 'http://localhost')
  return {
    isDevelopment,
    host: env.HOST ?? '127.0.0.1',
    port: numberOf('PORT', env.PORT ?? '3000'),
    data: resolve(env.APP_DATA ?? 'data'),
    origin: isDevelopment ? undefined : originOf(origin),
    secret: read('APP_SECRET', 'a long random text, e.g. of `openssl rand -hex 32`', 'development'),
    users: usersOf(read('APP_USERS', 'name:password pairs, with commas between them', 'ann:ann,ben:ben')),
    loginAge: numberOf('APP_LOGIN_HOURS', env.APP_LOGIN_HOURS ?? '12') * 3_600_000,
  }
}

function numberOf(name: string, text: string): number {
  const number = Number(text)
  if (number >= 0) return number
  throw new Error(`${name} is '${text}'. It has to be a number.`)
}

function originOf(text: string): string {
  if (URL.canParse(text)) return new URL(text).origin
  throw new Error(`APP_ORIGIN is '${text}'. It has to be an address like https://chat.example.`)
}

function usersOf(text: string): ReadonlyMap<string, string> {
  const users = text.split(',').map((pair): [string, string] => {
    const [, name, password] = /^([a-z0-9_-]{1,32}):(.+)$/.exec(pair.trim()) ?? []
    if (name && password) return [name, password]
    // Not the text: there may be a password in it.
    throw new Error('APP_USERS has a pair that is no name:password. Names are of a-z, 0-9, _ and -.')
  })
  return new Map(users)
}
