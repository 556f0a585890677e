import type { Connection, ConnectionOptions } from 'holdline'
import { createHooks } from 'holdline/react'
import { persist } from 'holdline/storage'
import { useCallback } from 'react'
import { type ChatEvent, type Command, chat } from '../shared/protocol'

/** The connection of this app. */
export type Line = Connection<ChatEvent, Command>

/** All that is a user's is below a path with their name: server/routes.ts says why. */
export const pathOf = (user: string, path: string) => `/api/users/${encodeURIComponent(user)}/${path}`

/** What has no verdict yet survives a reload. It is kept for each user, under a key of its own. */
export const lineOptions = (user: string): Omit<ConnectionOptions, 'protocol'> => ({
  url: pathOf(user, 'chat'),
  storage: persist(() => globalThis.localStorage, { key: `chat:${user}` }),
})

/** The hooks, with the messages of this app. */
export const { useConnection: useLine, useHoldline, useSession, useOwnMessages } = createHooks(chat)

export type Call = (path: string, init?: RequestInit) => Promise<Response>

/** `fetch`, below the user's path. */
export function useCall(user: string): Call {
  const line = useLine()
  return useCallback(
    async (path, init) => {
      const answer = await fetch(pathOf(user, path), init)
      // The login has expired, and the line has not noticed yet. It does now, and App.tsx asks.
      if (answer.status === 401) line.reconnect()
      return answer
    },
    [user, line],
  )
}

/** In any phase: `connect` is for `idle`, `reconnect` for all others. */
export function resume(line: Line) {
  if (line.phase === 'idle') line.connect()
  else line.reconnect()
}
