import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

// All that is kept of a user is in one folder. A file is replaced as a whole: who reads it, and a
// process that is killed, find the old one or the new one.

/** An id of this app's own: 128 random bits. */
export const isId = (id: string) => /^[0-9a-f]{32}$/.test(id)
export const newId = () => randomUUID().replaceAll('-', '')

export const folderOf = (data: string, user: string) => join(data, `user-${encodeURIComponent(user)}`)

/** Undefined where there is none. */
export async function readJson<T>(path: string): Promise<T | undefined> {
  const text = await readFile(path, 'utf8').catch(unlessMissing)
  return text === undefined ? undefined : JSON.parse(text)
}

export async function writeJson(path: string, value: unknown) {
  const draft = `${path}.${randomUUID()}`
  await mkdir(dirname(path), { recursive: true })
  await writeFile(draft, JSON.stringify(value), { flush: true })
  await rename(draft, path)
}

/** The names in a folder; none where there is no folder. */
export async function namesIn(folder: string): Promise<readonly string[]> {
  return (await readdir(folder).catch(unlessMissing)) ?? []
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
