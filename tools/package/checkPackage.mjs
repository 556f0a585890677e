// The package as its users get it: packed, installed into an empty project, imported and compiled against. Needs `dist`
// (`npm run check` has just built it) and the npm registry or its cache. `node tools/package/checkPackage.mjs --keep` leaves the
// projects for a look.

import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const consumer = join(root, 'tools', 'package', 'consumer')
const manifest = readJson(join(root, 'package.json'))

/** Entry point → what must be exported from it at run time. Every entry point of package.json has to be here. */
const NAMES = {
  '.': ['createConnection', 'ConnectionError'],
  './machine': ['connectionMachine', 'outboxMachine', 'phase', 'backoffDelay'],
  './adapters': ['openEventSource', 'defaultEventSource', 'createUpstream', 'pageLifecycle', 'watchSilence'],
  './adapters/websocket': ['webSocketTransport'],
  './storage': ['persist'],
  './protocol': ['defineProtocol', 'ProtocolError'],
  './server': ['createChatServer', 'memoryLog', 'CommandRejected', 'createWebSocketGateway', 'METRICS'],
  './server/node': ['fileStore', 'toNodeListener'],
  './server/redis': ['redisLog'],
  './server/runs': ['createRuns', 'suspend'],
  './server/transcripts': ['createTranscripts', 'memoryStore'],
  './testing': ['createHarness', 'serverContract', 'runServerContract'],
  './inspect': ['createInspector', 'formatTrace', 'parseTrace', 'replayTrace'],
  './compat': ['createChatConnection'],
  './sessions': ['sessionStore'],
  './react': ['HoldlineProvider', 'useHoldline', 'useSession', 'useSessionSuspense'],
  './tabs': ['createSharedConnection'],
  './vue': ['provideHoldline', 'useHoldline', 'useSession'],
  './ai-sdk': ['createChatTransport', 'followChat', 'sessionIdOf'],
  './ai-sdk/server': ['uiMessageRuns', 'sessionIdOf', 'chatIdOf'],
  './ag-ui': ['HoldlineAgent', 'followAgent', 'sessionIdOf'],
  './ag-ui/server': ['aguiRuns', 'sessionIdOf', 'threadIdOf'],
}
/** The command, and what only the command needs. */
const OF_THE_COMMAND = /\/node_modules\/(commander\/|holdline\/dist\/cli\.js)/
/** A machine type that TypeScript inferred; in the root's types it breaks on another minor version of XState. */
const INFERRED = /\bStateMachine</
/** `[text](link)`, `![picture](link)`, `href="link"` and `src="link"`. */
const LINK = /\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:href|src)="([^"]+)"/g
const OLDEST_XSTATE = manifest.peerDependencies.xstate.replace(/^\^(\d+\.\d+)\.\d+$/, '$1')

class CheckFailed extends Error {}

const temp = mkdtempSync(join(tmpdir(), 'holdline-package-'))
try {
  checkRootTypes()
  const tarball = pack()
  checkLinks(tarball)
  const installed = (name) => readJson(join(root, 'node_modules', name, 'package.json')).version
  checkProject('current', tarball, installed('xstate'), installed)
  checkProject('oldest', tarball, OLDEST_XSTATE, installed)
  console.log('package: all good')
} catch (error) {
  if (!(error instanceof CheckFailed)) throw error
  console.error(`\npackage: FAILED: ${error.message}`)
  process.exitCode = 1
} finally {
  if (process.argv.includes('--keep')) console.log(`kept: ${temp}`)
  else rmSync(temp, { recursive: true, force: true })
}

/** The declaration files that the root entry point reaches; those of other packages are not followed. */
function checkRootTypes() {
  const seen = new Set()
  const queue = [join(root, manifest.exports['.'].types)]
  for (const file of queue) {
    if (seen.has(file)) continue
    seen.add(file)
    const text = read(file)
    if (INFERRED.test(text)) throw new CheckFailed(`${file.slice(root.length)} contains an inferred machine type`)
    for (const [, path] of text.matchAll(/(?:from|import)\s*\(?['"](\.[^'"]+)['"]/g)) {
      queue.push(join(dirname(file), path.replace(/\.js$/, '.d.ts')))
    }
  }
  ok(`no inferred machine type in the root's ${seen.size} declaration files`)
}

function pack() {
  // No scripts: `prepack` would build again, under the feet of whoever else uses dist.
  const out = run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', temp], root)
  const [{ filename, entryCount, size }] = JSON.parse(out)
  ok(`packed ${filename}: ${entryCount} files, ${(size / 1_024).toFixed(0)} KiB`)
  return join(temp, filename)
}

/** Every link and picture of a page in the package leads to a file in the package. */
function checkLinks(tarball) {
  const files = run('tar', ['tzf', tarball], temp)
    .split('\n')
    .map((path) => path.replace(/^package\//, ''))
  const pages = files.filter((path) => /^(README|docs\/.*|examples\/.*)\.md$/i.test(path))
  if (!pages.includes('README.md')) throw new CheckFailed('there is no README.md in the package')
  const links = pages.flatMap((page) =>
    [...withoutCode(run('tar', ['xzOf', tarball, `package/${page}`], temp)).matchAll(LINK)].map(
      ([, markdown, html]) => [page, markdown ?? html],
    ),
  )
  const local = links.filter(([, link]) => !/^([a-z]+:|\/\/|#)/i.test(link))
  const broken = local.filter(([page, link]) => {
    const path = join(dirname(page), decodeURI(link.replace(/[#?].*$/, ''))).replace(/\/$/, '')
    return !files.some((file) => file === path || file.startsWith(`${path}/`))
  })
  if (local.length === 0) throw new CheckFailed('no page of the package has a link: is LINK wrong?')
  if (broken.length > 0) {
    const lines = broken.map(([page, link]) => `${page} points to ${link}`)
    throw new CheckFailed(`not in the package:\n${lines.join('\n')}\nadd it to \`files\`, or link to the repository`)
  }
  ok(`${local.length} links and pictures of ${pages.length} pages are in the package`)
}

/** A link in code is none. */
function withoutCode(markdown) {
  return markdown.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '')
}

function checkProject(name, tarball, xstate, installed) {
  const folder = join(temp, name)
  mkdirSync(folder)
  write(folder, 'package.json', { name: 'consumer', private: true, type: 'module' })
  const packages = [
    tarball,
    `xstate@${xstate}`,
    `typescript@${installed('typescript')}`,
    `@types/node@${installed('@types/node')}`,
    `ioredis@${installed('ioredis')}`,
    `@ag-ui/client@${installed('@ag-ui/client')}`,
    `react@${installed('react')}`,
    `vue@${installed('vue')}`,
  ]
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
  run('npm', ['install', ...quiet, ...packages], folder)
  const found = readJson(join(folder, 'node_modules/xstate/package.json')).version
  if (!`${found}.`.startsWith(`${xstate}.`)) throw new CheckFailed(`xstate ${found} was installed, not ${xstate}`)
  console.log(`with xstate ${found}:`)

  checkImports(folder)
  checkCommand(folder)
  copyFileSync(join(consumer, 'run.mjs'), join(folder, 'run.mjs'))
  run('node', ['run.mjs'], folder)
  ok('connects, sends and disposes, over a fake EventSource')

  const help = run('npx', ['--no-install', 'holdline', 'check', '--help'], folder)
  if (!help.includes('Usage: holdline check')) throw new CheckFailed(`holdline check --help says\n${help}`)
  ok('holdline check --help')

  // C82: the types compile in the projects that apps have.
  for (const file of ['app.ts', 'machine.ts', 'node.ts', 'browser.ts', 'using.ts'])
    copyFileSync(join(consumer, `${file}.txt`), join(folder, file))
  const lib = ['ES2022', 'ESNext.Disposable']
  const node = { module: 'NodeNext', moduleResolution: 'NodeNext' }
  const bundler = { module: 'ESNext', moduleResolution: 'Bundler' }
  compile(folder, 'app.ts, NodeNext', 'app.ts', { ...node, lib: [...lib, 'DOM', 'DOM.Iterable'] })
  compile(folder, 'app.ts, Bundler', 'app.ts', { ...bundler, lib: [...lib, 'DOM', 'DOM.Iterable'] })
  if (xstate !== OLDEST_XSTATE) compile(folder, 'machine.ts, NodeNext', 'machine.ts', { ...node, lib: [...lib, 'DOM'] })
  compile(folder, 'node.ts, without the types of the DOM', 'node.ts', { ...node, lib })
  compile(folder, 'using.ts, where TypeScript knows it', 'using.ts', { ...bundler, lib: [...lib, 'DOM'], types: [] })
  // A page's own project has nothing of Node, and neither ESNext.Disposable nor DOM.Iterable.
  for (const exactOptionalPropertyTypes of [true, false]) {
    const page = { ...bundler, lib: ['ES2023', 'DOM'], types: [], exactOptionalPropertyTypes }
    const exactly = `exactOptionalPropertyTypes ${exactOptionalPropertyTypes ? 'on' : 'off'}`
    compile(folder, `browser.ts, lib es2023 and dom, ${exactly}`, 'browser.ts', page)
  }
}

function checkImports(folder) {
  const entries = Object.keys(manifest.exports).filter((entry) => !entry.endsWith('.json'))
  const unknown = entries.filter((entry) => !NAMES[entry])
  if (unknown.length > 0) throw new CheckFailed(`no expected names for ${unknown.join(', ')}: add them to NAMES`)
  const expected = entries.map((entry) => [manifest.name + entry.slice(1), NAMES[entry]])
  write(
    folder,
    'imports.mjs',
    `for (const [entry, names] of ${JSON.stringify(expected)}) {
      const module = await import(entry)
      const missing = names.filter((name) => module[name] === undefined)
      if (missing.length > 0) throw new Error(entry + ' does not export ' + missing.join(', '))
    }`,
  )
  const loaded = loadedBy(['imports.mjs'], folder)
  const unwanted = loaded.filter((url) => OF_THE_COMMAND.test(url))
  if (unwanted.length > 0) throw new CheckFailed(`importing the library loads ${unwanted.join(', ')}`)
  ok(`imports ${entries.length} entry points; of ${loaded.length} modules none is of the command`)
}

/** The URLs of the modules that Node loads for a program. */
function loadedBy(program, folder) {
  const list = join(folder, 'loaded.txt')
  write(
    folder,
    'hooks.mjs',
    `import { appendFileSync } from 'node:fs'
    export async function load(url, context, next) {
      appendFileSync(${JSON.stringify(list)}, url + '\\n')
      return next(url, context)
    }`,
  )
  write(folder, 'record.mjs', `import { register } from 'node:module'; register('./hooks.mjs', import.meta.url)`)
  rmSync(list, { force: true })
  run('node', ['--import', './record.mjs', ...program], folder)
  return read(list).trim().split('\n')
}

function checkCommand(folder) {
  const command = join('node_modules', manifest.name, manifest.bin.holdline)
  // Else the check of the imports would see nothing, too.
  const own = loadedBy([command, '--version'], folder).filter((url) => OF_THE_COMMAND.test(url))
  if (own.length < 2)
    throw new CheckFailed(`the command loads ${own.join(', ') || 'nothing'}; is OF_THE_COMMAND wrong?`)
  const holdline = (...args) => run('npx', ['--no', '--', 'holdline', ...args], folder)
  const version = holdline('--version').trim()
  if (version !== manifest.version) throw new CheckFailed(`npx holdline --version says ${version}`)
  if (!holdline('--help').includes('npx holdline new')) throw new CheckFailed('npx holdline --help has no example')
  ok(`npx holdline --version says ${version}, and --help shows how`)
  for (const [name, ...options] of [['in-ts'], ['in-js', '--js', '--log', 'redis']]) {
    holdline('new', name, ...options)
    const { dependencies } = readJson(join(folder, name, 'package.json'))
    if (dependencies.holdline !== `^${version}`)
      throw new CheckFailed(`${name} wants holdline ${dependencies.holdline}`)
  }
  ok('npx holdline new copies the app, in both languages')
}

function compile(folder, what, file, compilerOptions) {
  write(folder, 'tsconfig.json', {
    compilerOptions: {
      target: 'ES2022',
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      noEmit: true,
      types: ['node'],
      ...compilerOptions,
    },
    files: [file],
  })
  const { stdout } = spawn('node', ['node_modules/typescript/bin/tsc', '--pretty', 'false'], folder)
  const errors = stdout.split(/\n(?=\S)/).filter((line) => line.includes('error TS'))
  // XState's own declarations do not survive `exactOptionalPropertyTypes`; that is not ours to mend.
  const ours = errors.filter((error) => !/^node_modules\/(?!holdline\/)/.test(error))
  if (ours.length > 0) throw new CheckFailed(`${what} does not compile\n${ours.join('\n')}`)
  const others = errors.length > 0 ? ` (${errors.length} errors inside other packages are not counted)` : ''
  ok(`compiles ${what}, with skipLibCheck off${others}`)
}

function run(command, args, cwd) {
  const { status, stdout, stderr } = spawn(command, args, cwd)
  if (status === 0) return stdout
  throw new CheckFailed(`${command} ${args.join(' ')}\n${stdout}${stderr}`)
}

function spawn(command, args, cwd) {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 240_000 })
  if (result.error) throw new CheckFailed(`${command} ${args.join(' ')}: ${result.error.message}`)
  return result
}

function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new CheckFailed(`cannot read ${file}; was it built? (${cause.code})`)
  }
}

function readJson(file) {
  return JSON.parse(read(file))
}

function write(folder, file, content) {
  writeFileSync(join(folder, file), typeof content === 'string' ? content : JSON.stringify(content, null, 2))
}

function ok(what) {
  console.log(`  ok  ${what}`)
}
