import { join } from 'node:path'
import type { SessionInfo } from '../shared/protocol'
import { folderOf, isId, namesIn, newId, readJson, writeJson } from './files'

// The sessions of each user. Where several machines serve one user, put your database in the place
// of the files.

export type Sessions = ReturnType<typeof createSessions>

const TITLE_LENGTH = 60
const MAX_SESSIONS = 1_000

export function createSessions({ data }: { readonly data: string }) {
  const pathOf = (user: string, id: string) => join(folderOf(data, user), id, 'session.json')
  const find = (user: string, id: string) => readJson<SessionInfo>(pathOf(user, id))
  const idsOf = async (user: string) => (await namesIn(folderOf(data, user))).filter(isId)

  return {
    /** Whether it is a session of this user. */
    has: async (user: string, id: string) => isId(id) && (await find(user, id)) !== undefined,

    /** The newest first. */
    async list(user: string): Promise<readonly SessionInfo[]> {
      const ids = await idsOf(user)
      const found = await Promise.all(ids.map((id) => find(user, id)))
      return found.filter((session) => session !== undefined).sort((a, b) => b.created - a.created)
    },

    async create(user: string): Promise<SessionInfo | 'too-many'> {
      if ((await idsOf(user)).length >= MAX_SESSIONS) return 'too-many'
      const session: SessionInfo = { id: newId(), title: null, created: Date.now() }
      await writeJson(pathOf(user, session.id), session)
      return session
    },

    /** The title, if the first prompt gives it one. */
    async nameAfter(user: string, id: string, prompt: string): Promise<string | undefined> {
      const session = await find(user, id)
      const title = prompt.trim().slice(0, TITLE_LENGTH)
      if (!session || session.title !== null || title === '') return undefined
      await writeJson(pathOf(user, id), { ...session, title })
      return title
    },
  }
}
