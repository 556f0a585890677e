import { createHash, randomUUID } from 'node:crypto'
import { link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Transcript, TranscriptStore } from '../transcripts/api'
import { isSameCursor } from '../transcripts/cursor'

/** The one with the highest number is what is saved. */
interface Generation {
  readonly number: number
  readonly saved: Transcript | undefined
}

/**
 * Transcripts in files, for `createTranscripts`: a folder for each session, and in it one file,
 * which is replaced as a whole by one with the next number. A process that is killed leaves the old
 * one or the new one, and of several processes that save one session at the same time one is
 * refused. The file system must know hard links, as those of Linux, macOS and Windows do.
 *
 * @param folder is made when something is saved
 */
export function fileStore(folder: string): TranscriptStore {
  return {
    load: async (sessionId) => (await newestIn(folderOf(folder, sessionId))).saved,

    async save(sessionId, { state, cursor }, before) {
      const own = folderOf(folder, sessionId)
      const { number, saved } = await newestIn(own)
      if (!isSameCursor(saved?.cursor, before)) return false
      const draft = join(own, `${randomUUID()}.draft`)
      await mkdir(own, { recursive: true })
      await writeFile(draft, JSON.stringify({ sessionId, cursor, state }), { flush: true })
      if (!(await take(draft, join(own, nameOf(number + 1))))) return false
      const names = await readdir(own)
      // Others have gone further, and had removed the number that this one took.
      if (names.some((name) => numberOf(name) > number + 1)) return false
      // Drafts too: of processes that were killed, or are too late with them.
      const old = names.filter((name) => numberOf(name) !== number + 1)
      await Promise.all(old.map((name) => rm(join(own, name), { force: true })))
      return true
    },
  }
}

/** Some file systems do not tell `a` from `A`, and some names are taken: so not the id itself. */
const folderOf = (folder: string, sessionId: string) =>
  join(folder, createHash('sha256').update(sessionId).digest('hex').slice(0, 32))

const nameOf = (number: number) => `${number}.json`
/** 0 for a draft. */
const numberOf = (name: string) => Number(/^(\d+)\.json$/.exec(name)?.[1] ?? 0)

async function newestIn(own: string): Promise<Generation> {
  for (;;) {
    const names = await readdir(own).catch(undefinedIf('ENOENT'))
    const number = Math.max(0, ...(names ?? []).map(numberOf))
    if (number === 0) return { number, saved: undefined }
    const text = await readFile(join(own, nameOf(number)), 'utf8').catch(undefinedIf('ENOENT'))
    // A newer one took its place meanwhile.
    if (text === undefined) continue
    const { state, cursor } = JSON.parse(text)
    return { number, saved: { state, cursor } }
  }
}

/** In one step, and only if there is no such file. */
async function take(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path)
    return true
  } catch (error) {
    undefinedIf('EEXIST', 'ENOENT')(error)
    return false
  } finally {
    await rm(draft, { force: true })
  }
}

const undefinedIf =
  (...codes: readonly string[]) =>
  (error: unknown): undefined => {
    if (!codes.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
