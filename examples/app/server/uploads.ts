import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import type { Upload } from '../shared/protocol'
import { folderOf, isId, namesIn, newId, readJson, writeJson } from './files'

// Files come by a POST of their own, and messages name them: docs/uploads.md of holdline says why.
// Each belongs to one session of one user. Its type is what its first bytes say, and not what the
// page does.

/** Bytes of one file. A proxy in front needs the same limit. */
const MAX_BYTES = 10 * 1_048_576
/** Bytes of all files of a user. */
const MAX_ALL = 200 * 1_048_576

interface Kept extends Upload {
  readonly session: string
}

/** What is sent, and by whom. */
export interface Sending {
  readonly user: string
  readonly session: string
  readonly name: string
  readonly body: ReadableStream<Uint8Array>
}

export type Uploads = ReturnType<typeof createUploads>

export function createUploads({ data }: { readonly data: string }) {
  const folder = (user: string) => join(folderOf(data, user), 'files')
  const pathOf = (user: string, id: string) => join(folder(user), id)

  /** Undefined, unless it belongs to this session of this user. */
  async function find(user: string, session: string, id: string): Promise<Upload | undefined> {
    const kept = isId(id) ? await readJson<Kept>(`${pathOf(user, id)}.json`) : undefined
    if (kept?.session !== session) return undefined
    const { name, type, size } = kept
    return { id, name, type, size }
  }

  /** The bytes that a user has here. */
  async function sizeOf(user: string): Promise<number> {
    const names = await namesIn(folder(user))
    const sizes = await Promise.all(
      names.map((name) =>
        stat(pathOf(user, name)).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    )
    return sizes.reduce((sum, size) => sum + size, 0)
  }

  return {
    pathOf,
    find,

    /** Writes it to the disk as it comes, so that no file is ever in memory as a whole. */
    async receive({ user, session, name, body }: Sending): Promise<Upload | 'too-large' | 'bad-type' | 'no-room'> {
      if ((await sizeOf(user)) >= MAX_ALL) return 'no-room'
      const id = newId()
      const path = pathOf(user, id)
      const part = `${path}.part`
      await mkdir(folder(user), { recursive: true })
      try {
        const { size, begin } = await save(body, part)
        if (size > MAX_BYTES) return 'too-large'
        const type = typeOf(begin)
        if (!type) return 'bad-type'
        const upload: Upload = { id, name: nameOf(name), type, size }
        await rename(part, path)
        // Last, so that what can be found is whole.
        await writeJson(`${path}.json`, { ...upload, session } satisfies Kept)
        return upload
      } finally {
        await rm(part, { force: true })
      }
    },
  }
}

/**
 * For an `<img>`, or to be saved. Opened by itself it is no page of this origin: whatever is in it,
 * it cannot run anything.
 */
export function responseFor(path: string, { id, name, type, size }: Upload): Response {
  const file = Readable.toWeb(createReadStream(path)) as unknown as BodyInit
  return new Response(file, {
    headers: {
      'Content-Type': type.startsWith('text/') ? `${type}; charset=utf-8` : type,
      'Content-Length': String(size),
      'Content-Disposition': `attachment; filename*=UTF-8''${encodeURIComponent(name).replaceAll("'", '%27')}`,
      'X-Content-Type-Options': 'nosniff',
      'Content-Security-Policy': "default-src 'none'; sandbox",
      'Cross-Origin-Resource-Policy': 'same-origin',
      // Asked for each time: whoever is logged in next must not find it.
      'Cache-Control': 'private, no-cache',
      ETag: etagOf(id),
    },
  })
}

/** What is kept under an id never changes. */
export const etagOf = (id: string) => `"${id}"`

/** What is too large is read to its end, and not kept: an answer that comes earlier is lost. */
async function save(body: ReadableStream<Uint8Array>, path: string) {
  let size = 0
  let begin = Buffer.alloc(0)
  async function* counted(chunks: AsyncIterable<Uint8Array>) {
    for await (const chunk of chunks) {
      size += chunk.byteLength
      if (size > 4 * MAX_BYTES) throw new Error('an upload that does not end')
      if (begin.byteLength < 1_024) begin = Buffer.concat([begin, chunk])
      if (size <= MAX_BYTES) yield chunk
    }
  }
  await pipeline(Readable.fromWeb(body), counted, createWriteStream(path))
  return { size, begin }
}

/** SVG and HTML, which can have scripts in them, are plain text. */
function typeOf(begin: Buffer): string | undefined {
  const has = (text: string, at = 0) => begin.subarray(at, at + text.length).equals(Buffer.from(text, 'latin1'))
  if (has('\x89PNG\r\n\x1a\n')) return 'image/png'
  if (has('\xff\xd8\xff')) return 'image/jpeg'
  if (has('GIF8')) return 'image/gif'
  if (has('RIFF') && has('WEBP', 8)) return 'image/webp'
  if (has('%PDF-')) return 'application/pdf'
  return isText(begin) ? 'text/plain' : undefined
}

/** In UTF-8, without control characters. It may be cut off in the middle of a character. */
function isText(begin: Buffer): boolean {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(begin, { stream: true })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
    return text !== '' && !/[\x00-\x08\x0e-\x1f]/.test(text)
  } catch {
    return false
  }
}

/** As it is shown: one line, and no path. */
const nameOf = (name: string) => name.replace(/[/\\\p{Cc}]/gu, '_').slice(0, 200) || 'file'
