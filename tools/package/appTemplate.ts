import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, posix, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Names, stripTypes } from './stripTypes'

// `holdline new` copies the app of examples/app. Both languages of it are made here, when the
// package is built, so that the command needs no compiler.

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Folders that are made when the app is installed, built and run. Its copy ignores them. */
const MADE = ['node_modules', 'dist', 'data']
/** No part of the app. */
const isForeign = (path: string) =>
  path.split('/').some((name) => MADE.includes(name) || name.startsWith('.') || name === 'package-lock.json')
const IS_TYPESCRIPT = /\.tsx?$/
/** Only a project with types has these. */
const OF_TYPES = /\.d\.ts$|(^|\/)tsconfig[^/]*\.json$/
const PACKAGES_OF_TYPES = /^(typescript|@types\/.*)$/

type Files = ReadonlyMap<string, string>

/** Makes the folders `ts` and `js` in `to`, anew. */
export function buildAppTemplate(from: string, to: string) {
  const app = readFiles(from)
  rmSync(to, { recursive: true, force: true })
  writeFiles(join(to, 'ts'), app)
  writeFiles(join(to, 'js'), format(toJavaScript(app)))
}

function readFiles(folder: string): Files {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => path.split(sep).join('/'))
    .filter((path) => !isForeign(path) && statSync(join(folder, path)).isFile())
  // Who copies the app need not have Biome.
  const read = (path: string) =>
    readFileSync(join(folder, path), 'utf8').replace(/^ *\{?\/[/*] biome-ignore .*\n/gm, '')
  // npm packs no `.gitignore`, so it gets its dot when it is copied.
  return new Map([['gitignore', `${MADE.join('\n')}\n`], ...paths.sort().map((path) => [path, read(path)] as const)])
}

function writeFiles(folder: string, files: Files) {
  for (const [path, text] of files) {
    const target = join(folder, path)
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, text)
  }
}

function toJavaScript(app: Files): Files {
  const kept = [...app].filter(([path]) => !OF_TYPES.test(path))
  const names = namesIn(new Set(kept.map(([path]) => path)))
  const translate = (path: string, text: string) => {
    if (path === 'package.json') return manifestOf(text, names)
    return IS_TYPESCRIPT.test(path) ? stripTypes(path, text, names) : names.mentioned(text)
  }
  return new Map(kept.map(([path, text]) => [inJavaScript(path), translate(path, text)]))
}

const inJavaScript = (path: string) => path.replace(/\.ts(x?)$/, '.js$1')

function namesIn(paths: ReadonlySet<string>): Names {
  const isOurs = (name: string) => [...paths].some((path) => `/${path}`.endsWith(`/${name.replace(/^(\.*\/)+/, '')}`))
  return {
    imported(from, specifier) {
      if (!specifier.startsWith('.')) return specifier
      // A file of a variant is copied to where its namesake is.
      const folder = posix.dirname(from.replace(/^variants\/[^/]+\//, ''))
      const target = posix.join(folder, specifier)
      const ends = ['', '.ts', '.tsx', '/index.ts', '/index.tsx']
      const end = ends.find((end) => paths.has(target + end))
      return end === undefined ? specifier : inJavaScript(specifier + end)
    },
    mentioned: (text) =>
      text
        .replace(/[\w./-]+\.tsx?(?![\w-])/g, (name) => (isOurs(name) ? inJavaScript(name) : name))
        .replace(/\*\.ts(x?)\b/g, '*.js$1')
        .replace(/and `npm run typecheck`, in TypeScript /g, ''),
  }
}

function manifestOf(text: string, names: Names): string {
  const { scripts, dependencies, devDependencies, ...manifest } = JSON.parse(text)
  const untyped = (record: Record<string, string> = {}) =>
    Object.fromEntries(Object.entries(record).filter(([name]) => !PACKAGES_OF_TYPES.test(name)))
  // Of `a && b`.
  const withoutCompiler = (script: string) =>
    script
      .split(' && ')
      .filter((command) => !/^tsc\b/.test(command))
      .join(' && ')
  const commands = Object.entries<string>(scripts)
    .map(([name, script]) => [name, names.mentioned(withoutCompiler(script))])
    .filter(([, command]) => command !== '')
  const changed = { scripts: Object.fromEntries(commands), dependencies: untyped(dependencies) }
  return JSON.stringify({ ...manifest, ...changed, devDependencies: untyped(devDependencies) }, null, 2)
}

/** As Biome formats this repository. */
function format(files: Files): Files {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-template-'))
  try {
    const { files: which, formatter, javascript } = JSON.parse(readFileSync(join(ROOT, 'biome.json'), 'utf8'))
    writeFiles(folder, files)
    writeFileSync(join(folder, 'biome.json'), JSON.stringify({ files: which, formatter, javascript }))
    const biome = join(ROOT, 'node_modules/@biomejs/biome/bin/biome')
    const { status, stderr } = spawnSync(process.execPath, [biome, 'format', '--write', '.'], {
      cwd: folder,
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`biome format: ${stderr}`)
    return new Map([...files.keys()].map((path) => [path, readFileSync(join(folder, path), 'utf8')]))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
