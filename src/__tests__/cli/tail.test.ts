import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../../tools/shared/freePort'
import { listen } from '../../../tools/shared/listen'
import { tailCommand } from '../../cli/tail'
import { type ChatServerOptions, createChatServer, memoryLog, type Principal } from '../../server'
import { toNodeListener } from '../../server/node'
import { buildCommand, fakeIo, runCommand } from './run'

/** A slow machine needs seconds. */
const SOON = { timeout: 25_000, interval: 10 }

const opened: (() => unknown)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

async function start(options: Partial<ChatServerOptions<Principal>> = {}) {
  const chat = createChatServer({
    authenticate: () => ({ id: 'alice' }),
    authorize: () => true,
    onCommand: () => null,
    onError() {},
    heartbeat: 500,
    ...options,
  })
  const http = await listen((request) => chat.fetch(request))
  opened.push(() => Promise.all([chat.close(), http.close()]))
  const say = (n: number, sessionId = 's1') => chat.publish(sessionId, { type: 'token', n })
  return { chat, http, url: http.url, say }
}

/** Runs the command in this process until it ends, or is interrupted. */
function tail(url: string, ...flags: string[]) {
  const own = fakeIo()
  let listener = () => {}
  const command = tailCommand({
    ...own.io,
    onInterrupt(given) {
      listener = given
      return () => {}
    },
  })
  const ended = runCommand(command, [url, ...flags], own)
  const { seen } = own
  const interrupt = async () => {
    listener()
    return ended
  }
  opened.push(interrupt)
  return {
    seen,
    ended,
    interrupt,
    lines: () => seen.out.split('\n').slice(0, -1),
    hears: (text: string) => expect.poll(() => seen.out, SOON).toContain(text),
    opens: () => expect.poll(() => seen.err, SOON).toContain('-- open\n'),
  }
}

describe('holdline tail', () => {
  test('prints what the server has of the session, then what happens, one event a line', async () => {
    const { url, say } = await start()
    await say(1)
    await say(7, 'other')
    const { opens, hears, lines, interrupt } = tail(url, '--session', 's1')
    await opens()
    await say(2)
    await say(8, 'other')
    await say(3)
    await hears('"n":3')
    expect(lines()).toEqual([
      '    1  token         {"n":1}',
      '    2  token         {"n":2}',
      '    3  token         {"n":3}',
    ])
    const { code, err } = await interrupt()
    expect(code).toBe(0)
    expect(err).toBe('-- open\n-- goodbye after 3 events; --after 3 goes on here\n')
  })

  test('Ctrl-C ends the stream', async () => {
    const { url, http } = await start()
    const { opens, interrupt } = tail(url, '--session', 's1')
    await opens()
    expect(http.streams).toBe(1)
    await interrupt()
    await expect.poll(() => http.streams, SOON).toBe(0)
  })

  test.each([
    ['2', [3, 4]],
    ['head', [4]],
  ])('--after %s begins there', async (after, expected) => {
    const { url, say } = await start()
    for (const n of [1, 2, 3]) await say(n)
    const { opens, hears, lines } = tail(url, '--session', 's1', '--after', after, '--json')
    await opens()
    await say(4)
    await hears('"n":4')
    expect(lines().map((line) => JSON.parse(line).n)).toEqual(expected)
  })

  test('--json is each event, as it came', async () => {
    const { url, say } = await start()
    await say(1)
    const { hears, lines } = tail(url, '--session', 's1', '--json')
    await hears('"n":1')
    expect(JSON.parse(lines()[0] ?? '')).toMatchObject({ type: 'token', sessionId: 's1', seq: 1, n: 1 })
  })

  test('a line that breaks is opened again, as is told; no event is missing and none comes twice', async () => {
    const { url, say, http } = await start()
    const { seen, opens, hears, lines } = tail(url, '--session', 's1', '--json')
    await opens()
    await say(1)
    await hears('"n":1')
    http.destroySockets()
    await say(2)
    await hears('"n":2')
    expect(lines().map((line) => JSON.parse(line).n)).toEqual([1, 2])
    expect(seen.err).toMatch(/^-- open\n-- closed \(failed\)\n-- [a-z-]+: .*\n-- again in \d\.\d s\n-- open\n$/)
  })

  test('a server that is not there yet is waited for, as is told', async () => {
    const port = await freePort()
    const { chat, say } = await start()
    await say(1)
    const { seen, hears } = tail(`http://127.0.0.1:${port}/api/chat`, '--session', 's1')
    await expect.poll(() => seen.err, SOON).toMatch(/^-- [a-z-]+: .* \(ECONNREFUSED\)\n-- again in \d\.\d s\n/)
    const server = createServer(toNodeListener(chat)).listen(port, '127.0.0.1')
    opened.push(() => server.close().closeAllConnections())
    await hears('"n":1')
  })

  test.each([
    [false, 'error: the session "s1" is not for this user: give the --header or --cookie of one who may read it.\n'],
    ['gone', 'error: the session "s1" is gone: the server knows none of that name any more.\n'],
  ] as const)('a session that is refused (%s) ends it with a sentence, and 1', async (answer, says) => {
    const { url } = await start({ authorize: () => answer })
    const { err, code } = await tail(url, '--session', 's1').ended
    expect([err, code]).toEqual([expect.stringContaining(says), 1])
  })

  test('a session that is taken away later ends it as well', async () => {
    let isAllowed = true
    const { url, chat } = await start({ authorize: () => isAllowed })
    const { opens, ended } = tail(url, '--session', 's1')
    await opens()
    isAllowed = false
    await chat.revoke('alice', 's1')
    const { err, code } = await ended
    expect([err, code]).toEqual([expect.stringContaining('is not for this user'), 1])
  })

  test('a user who is refused ends it with what the server says, and 1; --header and --cookie name another', async () => {
    const byToken: Partial<ChatServerOptions<Principal>> = {
      authenticate: ({ headers }) =>
        headers.get('authorization') === 'a' && headers.get('cookie') === 'b' ? { id: 'alice' } : null,
    }
    const { url } = await start(byToken)
    const { err, code } = await tail(url, '--session', 's1').ended
    expect([err, code]).toEqual([expect.stringMatching(/error: .*401.* \(unauthorized\)\.\n$/), 1])
    await tail(url, '--session', 's1', '--header', 'Authorization: a', '--cookie', 'b').opens()
  })

  test('a history that has been cut is told, and what is left of it is printed', async () => {
    const { url, say } = await start({ log: memoryLog({ maxEvents: 3 }) })
    for (const n of [1, 2, 3, 4, 5, 6]) await say(n)
    const { seen, hears, lines } = tail(url, '--session', 's1', '--after', '1', '--json')
    await hears('"n":6')
    const numbers = lines().map((line) => JSON.parse(line).n)
    expect(numbers.at(0)).toBeGreaterThan(2)
    expect(numbers).toEqual([1, 2, 3, 4, 5, 6].slice(-numbers.length))
    expect(seen.err).toMatch(/-- reset: the server has of this session what came after \d, up to 6\n/)
  })

  test('no event writes more to a terminal than its line', async () => {
    const { url, chat } = await start()
    await chat.publish('s1', { type: 'a\u009b31m\u001b[0m', text: '\u0007\u2028\u0085' })
    const { hears, lines } = tail(url, '--session', 's1')
    await hears('text')
    expect(lines()).toEqual(['    1  a\\u009b31m\\u001b[0m  {"text":"\\u0007\\u2028\\u0085"}'])
  })

  test.each([
    ['there is no URL', ['--session', 's1'], /missing required argument 'url'/],
    ['there is no session', ['http://127.0.0.1:1'], /required option '--session <id>' not specified/],
    ['the URL is relative', ['/api/chat', '--session', 's1'], /"\/api\/chat" is no URL: call it as holdline tail http/],
    ['the URL has a query', ['http://127.0.0.1:1/?a', '--session', 's1'], /url.*call it as holdline tail http/],
    [
      'the session is empty',
      ['http://127.0.0.1:1', '--session', ''],
      /'--session <id>' argument '' is invalid. it is empty/,
    ],
    [
      '--after is no number',
      ['http://127.0.0.1:1', '--session', 's1', '--after', '-1'],
      /neither the number of an event nor/,
    ],
    ['--header is none', ['http://127.0.0.1:1', '--session', 's1', '--header', 'a'], /it is no header such as/],
  ])('ends with 2, and says why, where %s', async (_, args, says) => {
    const own = fakeIo()
    const command = tailCommand({ ...own.io, onInterrupt: () => () => {} })
    const { err, code } = await runCommand(command, args, own)
    expect([err, code]).toEqual([expect.stringMatching(says), 2])
  })

  test('--help teaches: where output goes, where it begins, the exit codes, examples', async () => {
    const own = fakeIo()
    const { out, code } = await runCommand(tailCommand({ ...own.io, onInterrupt: () => () => {} }), ['--help'], own)
    expect(code).toBe(0)
    for (const text of ['standard error', '--after head', 'Exit code: 0', 'npx holdline tail http://'])
      expect(out).toContain(text)
  })
})

describe('as a process', () => {
  let command: Awaited<ReturnType<typeof buildCommand>>
  beforeAll(async () => {
    command = await buildCommand()
  })
  afterAll(() => rmSync(command.folder, { recursive: true, force: true }))

  test('SIGINT ends it with a goodbye and 0, and nothing keeps the process', async () => {
    const { url, say } = await start()
    await say(1)
    const child = spawn(process.execPath, [command.path, 'tail', url, '--session', 's1'])
    opened.push(() => child.kill('SIGKILL'))
    let [out, err] = ['', '']
    child.stdout.on('data', (bytes) => (out += bytes))
    child.stderr.on('data', (bytes) => (err += bytes))
    await expect.poll(() => out, SOON).toContain('"n":1')
    child.kill('SIGINT')
    const [code] = await once(child, 'exit')
    expect([code, err]).toEqual([0, expect.stringContaining('-- goodbye after 1 event; --after 1 goes on here\n')])
  })

  test('a reader that goes away ends it, silently', async () => {
    const { url, say, http } = await start()
    await say(1)
    const child = spawn(process.execPath, [command.path, 'tail', url, '--session', 's1'])
    opened.push(() => child.kill('SIGKILL'))
    let err = ''
    child.stderr.on('data', (bytes) => (err += bytes))
    const exit = once(child, 'exit')
    await once(child.stdout, 'data')
    child.stdout.destroy()
    const timer = setInterval(() => void say(2), 50)
    const [code] = await exit
    clearInterval(timer)
    expect([code, err]).toEqual([0, '-- open\n'])
    await expect.poll(() => http.streams, SOON).toBe(0)
  })
})

test('docs/cli.md has each option', () => {
  const page = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8')
  for (const { long } of tailCommand().options) expect(page).toContain(`| \`${long}`)
})
