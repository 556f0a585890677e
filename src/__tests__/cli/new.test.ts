import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { buildAppTemplate } from '../../../tools/package/appTemplate'
import { stripTypes } from '../../../tools/package/stripTypes'
import { APP, writeFiles } from './fixture'

// The real command, built as it is shipped, in a package whose template is the fixture's.

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const MANIFEST = { name: 'holdline', version: '1.2.3', type: 'module', peerDependencies: { ioredis: '^6.0.0' } }

let place: string
/** Where commands are run; empty before each test. */
let cwd: string

beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), 'holdline-new-'))
  await makePackage('package', APP)
})
afterAll(() => rmSync(place, { recursive: true, force: true }))
beforeEach(() => {
  cwd = join(place, 'cwd')
  mkdirSync(cwd)
})
afterEach(() => rmSync(cwd, { recursive: true, force: true }))

/** A package in `place`, with the command and, of an app, the template. */
async function makePackage(name: string, app: Readonly<Record<string, string>>) {
  const folder = join(place, name)
  writeFiles(folder, { 'package.json': JSON.stringify(MANIFEST) })
  await build({
    entryPoints: [join(ROOT, 'src/cli/main.ts')],
    outfile: join(folder, 'dist/cli.js'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    external: ['commander'],
  })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  writeFiles(join(place, 'apps', name), app)
  buildAppTemplate(join(place, 'apps', name), join(folder, 'dist/app'))
}

function holdline(args: readonly string[], { from = 'package', folder = cwd } = {}) {
  const command = [join(place, from, 'dist/cli.js'), ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: folder, encoding: 'utf8' })
  return { status, stdout, stderr }
}

const filesIn = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => statSync(join(folder, path)).isFile())
    .sort()
const read = (path: string) => readFileSync(join(cwd, path), 'utf8')

describe('the app', () => {
  test('is that of the package, under its own name, with the version of the library that brought it', () => {
    const { status, stderr } = holdline(['new', 'my-app'])
    expect([status, stderr]).toEqual([0, ''])
    const own = Object.keys(APP).filter((path) => !path.startsWith('variants/'))
    expect(filesIn(join(cwd, 'my-app'))).toEqual(['.gitignore', ...own].sort())
    for (const path of ['server/main.ts', 'client/main.tsx', 'tsconfig.json'])
      expect(read(`my-app/${path}`)).toBe(APP[path])
    expect(read('my-app/.gitignore')).toBe('node_modules\ndist\ndata\n')
    expect(JSON.parse(read('my-app/package.json'))).toEqual({
      ...JSON.parse(APP['package.json'] ?? ''),
      name: 'my-app',
      dependencies: { holdline: '^1.2.3', hono: '4.13.0' },
    })
  })

  test('keeps its events in Redis, if it is told to', () => {
    expect(holdline(['new', 'my-app', '--log', 'redis']).status).toBe(0)
    expect(read('my-app/server/log.ts')).toBe(APP['variants/redis/server/log.ts'])
    expect(existsSync(join(cwd, 'my-app/variants'))).toBe(false)
    expect(JSON.parse(read('my-app/package.json')).dependencies).toEqual({
      holdline: '^1.2.3',
      hono: '4.13.0',
      ioredis: '^6.0.0',
    })
  })

  test('says what to do next', () => {
    expect(holdline(['new', 'my-app']).stdout).toMatch(/\n {2}cd my-app\n {2}npm install\n {2}npm run dev\n/)
    expect(holdline(['new', 'in here/my-app']).stdout).toContain('cd "in here/my-app"')
    expect(holdline(['new', 'for-redis', '--log', 'redis']).stdout).toContain('REDIS_URL')
  })

  test('goes into the present folder, where a repository may be already', () => {
    mkdirSync(join(cwd, 'my-app/.git'), { recursive: true })
    const { status, stdout } = holdline(['new', '.'], { folder: join(cwd, 'my-app') })
    expect([status, stdout]).toEqual([0, expect.not.stringContaining('cd ')])
    expect(JSON.parse(read('my-app/package.json')).name).toBe('my-app')
  })
})

describe('in JavaScript', () => {
  beforeEach(() => {
    expect(holdline(['new', 'my-app', '--js', '--log', 'redis'])).toMatchObject({ status: 0, stderr: '' })
  })

  test('there is no file, package, script or word of TypeScript', () => {
    expect(filesIn(join(cwd, 'my-app'))).toEqual([
      '.gitignore',
      'README.md',
      'client/Chat.jsx',
      'client/main.jsx',
      'index.html',
      'package.json',
      'server/later.js',
      'server/log.js',
      'server/main.js',
      'shared/protocol.js',
    ])
    const { scripts, dependencies, devDependencies } = JSON.parse(read('my-app/package.json'))
    expect(scripts).toEqual({
      dev: 'vite',
      build: 'vite build && vite build --ssr server/main.js',
      start: 'node dist/server/main.js',
    })
    expect(Object.keys(dependencies)).toEqual(['holdline', 'hono', 'ioredis'])
    expect(devDependencies).toEqual({ vite: '8.4.0' })
    expect(read('my-app/index.html')).toContain('/client/main.jsx')
    const readme = read('my-app/README.md')
    expect(readme).toContain('`server/main.js` is the server, `client/main.jsx` the page. `other.ts` is none of ours.')
    expect(readme).toContain('\n| `npm test` | |\n')
  })

  test('a module is as a person would have written it', () => {
    expect(read('my-app/server/main.js')).toBe(`import { PATH } from '../shared/protocol.js'
import { log } from './log.js'

// Counts what it has seen.

/** How many of them there are. */
export function count(things, { from = 0 } = {}) {
  const first = from
  return things.length - first
}

class Counter {
  things = []

  all() {
    return this.things
  }
}

const seen = new Map()
;[...new Counter().all()].forEach((thing) => seen.delete(thing))
console.log(log.name, PATH, count([{ type: 'send' }]), 'server/main.js')
`)
    expect(read('my-app/client/main.jsx')).toBe(`import { PATH } from '../shared/protocol.js'
import { Chat } from './Chat.jsx'

function Page({ children }) {
  return (
    <main>
      {/* see client/Chat.jsx */}
      // no comment: {PATH}
      {children}
    </main>
  )
}

export const page = (
  <Page>
    <Chat initial="" />
  </Page>
)
`)
    expect(read('my-app/shared/protocol.js')).toBe(`// Both sides import this.

/** The path of the chat. */
export const PATH = '/api/chat'
`)
  })

  test('Node runs the server', () => {
    const { stdout, stderr } = spawnSync(process.execPath, ['server/main.js'], {
      cwd: join(cwd, 'my-app'),
      encoding: 'utf8',
    })
    expect([stdout, stderr]).toEqual(['redis /api/chat 1 server/main.js\n', ''])
  })
})

test('nothing in the app of the package speaks of TypeScript, where it is in JavaScript', () => {
  buildAppTemplate(join(ROOT, 'examples/app'), join(place, 'own'))
  const app = join(place, 'own/js')
  const lines = filesIn(app).flatMap((path) =>
    [path, ...readFileSync(join(app, path), 'utf8').split('\n')].map((line) => `${path}: ${line}`),
  )
  expect(lines.length).toBeGreaterThan(500)
  expect(lines.filter((line) => /\.tsx?\b|tsconfig|typecheck|typescript|^\S+: (interface|type) /i.test(line))).toEqual(
    [],
  )
})

test('code that is more than types ends the build, with its place', () => {
  const names = { imported: (_: string, specifier: string) => specifier, mentioned: (text: string) => text }
  expect(() => stripTypes('a.ts', '\nenum Color { red }\n', names)).toThrow('a.ts, about line 2: EnumDeclaration')
  expect(() => stripTypes('a.ts', 'class A { constructor(readonly b: string) {} }', names)).toThrow(
    'a.ts, about line 1',
  )
})

describe('refuses, and touches nothing:', () => {
  afterEach(() => expect(readdirSync(cwd)).toEqual([]))

  test.each([
    ['My-App', 'my-app'],
    ['my app', 'my-app'],
    ['_app', 'app'],
    ['.app', 'app'],
    ['Café', 'cafe'],
    ['http', 'http-app'],
    ['hono', 'hono-app'],
    ['holdline', 'holdline-app'],
    ['node_modules', 'node_modules-app'],
  ])('a name that npm does not take: %s', (name, better) => {
    const { status, stdout, stderr } = holdline(['new', name])
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/^error: ".*" cannot be the name of an app, because .*\.\n$/)
    expect(stderr).toContain(`call the folder ${better}.`)
  })

  test.each(['日本', 'a'.repeat(215), '/'])('one that nothing near can be made of: %s', (name) => {
    const { status, stderr } = holdline(['new', name])
    expect([status, stderr]).toEqual([2, expect.stringContaining('choose another one.')])
  })

  test.each([
    [['new'], "missing required argument 'folder'"],
    [['new', 'my-app', 'other'], 'too many arguments'],
    [['new', 'my-app', '--log', 'postgres'], 'Allowed choices are memory, redis.'],
    [['new', 'my-app', '--javascript'], "unknown option '--javascript'"],
    [['nwe', 'my-app'], 'Did you mean new?'],
  ])('a wrong call: %s', (args, sentence) => {
    const { status, stdout, stderr } = holdline(args)
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toContain(sentence)
    expect(stderr).toMatch(/^error: /)
  })
})

describe('leaves what was there as it was:', () => {
  test.each([
    [['notes.md'], 'is not empty (it has notes.md): name a new folder, or an empty one.'],
    [['.git', 'a', 'b', 'c'], 'is not empty (it has a and 2 more)'],
    [['.env'], 'is not empty (it has .env)'],
  ])('a folder with %s is refused', (names, sentence) => {
    writeFiles(join(cwd, 'my-app'), Object.fromEntries(names.map((name) => [name, 'mine'])))
    const { status, stdout, stderr } = holdline(['new', 'my-app'])
    expect([status, stdout, stderr]).toEqual([2, '', expect.stringContaining(sentence)])
    expect(filesIn(join(cwd, 'my-app'))).toEqual(names)
  })

  test('so is a file, and what would be below one', () => {
    writeFileSync(join(cwd, 'my-app'), 'mine')
    for (const folder of ['my-app', 'my-app/my-app']) {
      const { status, stderr } = holdline(['new', folder])
      expect([status, stderr]).toEqual([2, expect.stringContaining('is a file, or below one')])
    }
    expect(read('my-app')).toBe('mine')
  })

  test('a failure half way leaves nothing behind, nor the folders above, and is told', async () => {
    // In the variant `server` is a file, in the app a folder: what is written later fails.
    const { 'variants/redis/server/log.ts': _, ...app } = APP
    await makePackage('broken', { ...app, 'variants/redis/server': 'a file' })
    mkdirSync(join(cwd, 'empty'))
    for (const folder of ['new/my-app', 'empty']) {
      const { status, stdout, stderr } = holdline(['new', folder, '--log', 'redis'], { from: 'broken' })
      expect([status, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(/^error: The app could not be written \(E.*\), and nothing of it was left behind\.\n$/)
    }
    expect(readdirSync(cwd, { recursive: true })).toEqual(['empty'])
  })

  test('a package without its template says so', async () => {
    await makePackage('bare', APP)
    rmSync(join(place, 'bare/dist/app'), { recursive: true })
    const { status, stderr } = holdline(['new', 'my-app'], { from: 'bare' })
    expect([status, stderr]).toEqual([1, expect.stringContaining('install holdline again')])
    expect(readdirSync(cwd)).toEqual([])
  })
})

describe('help', () => {
  test('there is an example for each command', () => {
    const { status, stdout } = holdline(['--help'])
    expect(status).toBe(0)
    const [, list = ''] = /^Commands:\n([\s\S]*?)^Examples:/m.exec(stdout) ?? []
    const commands = Array.from(list.matchAll(/^ {2}([a-z]+)/gm), ([, name = '']) => name)
    expect(commands).toContain('new')
    for (const name of commands.filter((name) => name !== 'help'))
      expect(holdline([name, '--help']).stdout).toContain(`npx holdline ${name} `)
  })

  test('without a command it is shown, as a wrong call', () => {
    expect(holdline([])).toEqual({ status: 2, stdout: '', stderr: holdline(['--help']).stdout })
  })

  test('the version is that of the package', () => {
    expect(holdline(['--version'])).toEqual({ status: 0, stdout: '1.2.3\n', stderr: '' })
  })
})
