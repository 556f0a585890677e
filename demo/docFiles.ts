import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** The pages that are served, by their names; each is read when it is asked for. */
export type DocFiles = ReadonlyMap<string, () => Promise<string>>

const ROOT = fileURLToPath(new URL('../', import.meta.url))

/**
 * The README and docs/*.md of this very version, as the text that they are: to read them takes
 * neither a network nor a renderer, and nobody can ask for another file.
 */
export async function docFiles(): Promise<DocFiles> {
  const names = (await readdir(`${ROOT}docs`)).filter((name) => name.endsWith('.md'))
  const paths = [
    ['README.md', `${ROOT}README.md`] as const,
    ...names.map((name) => [name, `${ROOT}docs/${name}`] as const),
  ]
  return new Map(paths.map(([name, path]) => [name, () => readFile(path, 'utf8')]))
}
