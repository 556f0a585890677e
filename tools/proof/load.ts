import { readFile } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { locate } from './anchor'
import { PLANTED } from './planted'
import type { PlantedBug } from './plantedBug'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The text of a file with a bug planted in it. */
export function plantIn(text: string, { file, replace, bug, ...anchor }: PlantedBug): string {
  const [place, ...more] = locate(text, anchor)
  if (!place || more.length) throw new Error(`${bug}: its place in ${file} is not there exactly once any more`)
  return text.slice(0, place[0]) + replace.trim() + text.slice(place[1])
}

/** The testing kit with the whole library below it, and a bug planted in that. */
export const loadPlanted = (bug: PlantedBug): Promise<typeof import('../../src/testing')> =>
  load(bug, 'src/testing/index.ts')

/** The explorer of tabs with the whole library below it, and a bug planted in that. */
export const loadPlantedInTabs = (bug: PlantedBug): Promise<typeof import('./tabs')> =>
  load(bug, 'tools/proof/tabs/index.ts')

async function load(bug: PlantedBug, entry: string) {
  const name = entry.replace(/\W/g, '-')
  const outfile = `${ROOT}node_modules/.cache/planted-${PLANTED.indexOf(bug)}-${name}.mjs`
  await build({
    entryPoints: [`${ROOT}${entry}`],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'silent',
    plugins: [
      {
        name: 'plant',
        setup({ onLoad }) {
          onLoad({ filter: new RegExp(`${bug.file.replace(/\W/g, '\\$&')}$`) }, async ({ path }) => ({
            contents: plantIn(await readFile(path, 'utf8'), bug),
            loader: 'ts',
          }))
        },
      },
    ],
  })
  return import(pathToFileURL(outfile).href)
}
