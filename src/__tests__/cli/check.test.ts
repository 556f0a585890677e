import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freePort } from '../../../tools/shared/freePort'
import { checkCommand } from '../../cli/check'
import { toJUnit, toRow } from '../../cli/checkReport'
import type { ServerReport } from '../../testing'
import { startTalkingServer, type Tampering } from '../support/talkingServer'
import { fakeIo, runCommand } from './run'

const run = (args: readonly string[]) => {
  const own = fakeIo()
  return runCommand(checkCommand({ ...own.io, hasColour: false }), args, own)
}

/** Of a server that talks, and of a user who may talk to it. */
async function check(flags: readonly string[], tampering: Tampering = {}) {
  const server = await startTalkingServer(tampering)
  const args = [server.options.url, '--events', '3', '--header', 'Authorization: alice', ...flags]
  const result = await run(args)
  await server.close()
  return result
}

const UNKNOWN_IS_404: Tampering = {
  async answer(request, next) {
    return request.url.endsWith('/check-unknown') ? new Response('<b>&"', { status: 404 }) : next()
  },
}
const NO_CACHE_CONTROL: Tampering = {
  async answer(_, next) {
    const response = await next()
    response.headers.delete('cache-control')
    return response
  },
}

describe.concurrent('holdline check', () => {
  test('tells of each rule in a row, sums up, and ends with 0', async () => {
    const { out, err, code } = await check(['--only', 'stream,P66'])
    expect([err, code]).toEqual(['', 0])
    expect(out).toMatch(/^passed {8}P1 {3}stream {7}`GET \{url\}\/events` is answered 200 /)
    expect(out).toMatch(/^passed {8}P66 {2}probe /m)
    expect(out).toMatch(/\n\n6 passed, 0 failed, 0 advised, 0 not promised, 0 skipped\n$/)
  })

  test('a rule that is broken ends with 1; below its row is what was sent, what came, what it says', async () => {
    const { out, code } = await check(['--only', 'P33'], UNKNOWN_IS_404)
    expect(code).toBe(1)
    expect(out).toMatch(/^FAILED {8}P33 {2}refusals /)
    expect(out).toMatch(
      /^ {14}POST check-unknown \{.*\}: was answered 404 <b>&", not 400.* P33 says: .*\(docs\/protocol\.md#p33\)$/m,
    )
  })

  test('a rule that is SHOULD is advice, and fails nothing', async () => {
    const { out, code } = await check(['--only', 'P2'], NO_CACHE_CONTROL)
    expect([out.slice(0, 6), code]).toEqual(['advice', 0])
    expect(out).toContain('0 passed, 0 failed, 1 advised')
  })

  test('--json is an object with counts and cases, and nothing else', async () => {
    const { out, code } = await check(['--json', '--only', 'P33,P37'], UNKNOWN_IS_404)
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/api\/chat$/),
      ...{ passed: 0, failed: 1, advice: 0, notPromised: 0, skipped: 1 },
      cases: [
        {
          number: 'P33',
          topic: 'refusals',
          level: 'must',
          outcome: 'failed',
          why: expect.any(String),
          ms: expect.any(Number),
        },
        { number: 'P37', outcome: 'skipped', why: expect.stringContaining('--second-user') },
      ],
    })
  })

  test('--junit writes XML that is well-formed, whatever was answered', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdline-check-'))
    const file = join(folder, 'check.xml')
    await check(['--junit', file, '--only', 'P33,P37,P66'], UNKNOWN_IS_404)
    const elements = parseXml(await readFile(file, 'utf8'))
    await rm(folder, { recursive: true })
    const [suites] = elements
    expect(suites).toMatchObject({ name: 'testsuites', attributes: { tests: '3', failures: '1', skipped: '1' } })
    expect(elements.filter(({ name }) => name === 'testcase')).toHaveLength(3)
    const failure = elements.find(({ name }) => name === 'failure')
    expect(failure?.attributes.message).toContain('was answered 404 <b>&", not')
  })

  test('flags make the server talk: a message, where it goes, a cookie, a second user, a command for the end', async () => {
    const posted: string[] = []
    const byCookie: Tampering = {
      options: {
        authenticate: ({ headers }) => {
          const id = headers.get('cookie') ?? headers.get('x-user')
          return id ? { id } : null
        },
        endpoints: { talk: 'speak' },
        async onCommand({ type, sessionId = '', message, publish }) {
          if (type === 'talk') posted.push(String(message.text))
          await publish(sessionId, { type: 'echo', text: message.text })
        },
      },
    }
    const server = await startTalkingServer(byCookie)
    const flags = ['--send', '{"type":"talk","sessionId":"{session}","text":"say {text}"}', '--endpoint', 'speak']
    const users = ['--cookie', 'user=alice', '--second-user', 'X-User: bob']
    const args = [
      server.options.url,
      ...flags,
      ...users,
      '--goodbye',
      'exit 3',
      '--timeout',
      '9000',
      '--only',
      'P53,P60,P36,P21',
    ]
    const { out, code } = await run(args)
    await server.close()
    expect(out).toContain('3 passed, 1 failed (P21), 0 advised, 0 not promised, 0 skipped')
    expect(out).toMatch(/FAILED {8}P21 .*\n.*Command failed: exit 3/)
    expect(code).toBe(1)
    expect(posted[0]).toMatch(/^say check /)
  })

  test.each([
    ['the URL is none', ['chat'], /^error: 'url' must be the base URL/],
    ['the URL is missing', [], /missing required argument 'url'/],
    [
      '--send is no JSON',
      ['http://127.0.0.1:1', '--send', '{type}'],
      /'--send <json>' argument '\{type\}' is invalid. it is no JSON/,
    ],
    ['--events is no number', ['http://127.0.0.1:1', '--events', 'many'], /it is no number/],
    ['--header is none', ['http://127.0.0.1:1', '--header', 'Authorization'], /it is no header such as 'Name: value'/],
    ['a flag is unknown', ['http://127.0.0.1:1', '--no-such'], /unknown option '--no-such'/],
  ])('ends with 2, and says why, where %s', async (_, args, says) => {
    const { err, code } = await run(args)
    expect(code).toBe(2)
    expect(err).toMatch(says)
  })

  test('ends with 2, and says why, where nothing listens', async () => {
    const url = `http://127.0.0.1:${await freePort()}/api/chat`
    const { err, code } = await run([url])
    expect([err, code]).toEqual([
      `error: there is no server at ${url} (ECONNREFUSED): start it, or correct the URL.\n`,
      2,
    ])
  })

  test('ends with 2, and says why, where --only names nothing, or the file cannot be written', async () => {
    const only = await check(['--only', 'no-such'])
    expect([only.err, only.code]).toEqual([
      expect.stringMatching(/^error: 'only' must name topics .*"no-such"\.\n$/),
      2,
    ])
    const { err, code } = await check(['--only', 'P1', '--junit', '/no-such/check.xml'])
    expect([err, code]).toEqual([expect.stringContaining('/no-such/check.xml cannot be written (ENOENT): '), 2])
  })

  test('--help teaches: what is sent, the exit codes, topics, examples', async () => {
    const { out, code } = await run(['--help'])
    expect(code).toBe(0)
    for (const text of [
      '<url>',
      '--second-user',
      '{session}',
      'Exit code: 0',
      'Topics: stream welcome',
      'npx holdline check http://',
    ])
      expect(out).toContain(text)
  })
})

test('docs/check.md has each option', async () => {
  const page = await readFile(new URL('../../../docs/check.md', import.meta.url), 'utf8')
  for (const { long } of checkCommand().options) expect(page).toContain(`| \`${long}`)
})

const REPORT: ServerReport = {
  number: 'P1',
  topic: 'stream',
  level: 'must',
  title: 'P1: <a & "b">',
  outcome: 'failed',
  why: `\u0000\ud800 ]]> 'quoted' \n <`,
  ms: 1_234,
}

test('colours are for terminals that may have them', () => {
  expect(toRow(REPORT, false)).not.toContain('\u001b')
  expect(toRow(REPORT, true)).toMatch(`\u001b[31m${'FAILED'.padEnd(12)}\u001b[0m  P1 `)
})

test('no text breaks the XML', () => {
  const xml = toJUnit('http://host/?a&b', [REPORT])
  expect(parseXml(xml).slice(2)).toEqual([
    { name: 'testcase', attributes: { classname: 'stream', name: 'P1: <a & "b">', time: '1.234' } },
    { name: 'failure', attributes: { message: `\ufffd\ufffd ]]> 'quoted' \n <` } },
  ])
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML must not have
  expect(xml).not.toMatch(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/)
})

interface XmlElement {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
}

/**
 * The elements of a document that is well-formed, in their order. A stricter reader than XML asks
 * for.
 */
function parseXml(text: string): readonly XmlElement[] {
  const value = '[^<&"]*(?:&(?:amp|lt|gt|quot|#\\d+);[^<&"]*)*'
  const token = new RegExp(`<\\?xml [^?]*\\?>|<(/?)([a-z]+)((?: [a-z]+="${value}")*)(/?)>|\\s+`, 'y')
  const elements: XmlElement[] = []
  const open: string[] = []
  while (token.lastIndex < text.length) {
    const at = token.lastIndex
    const found = token.exec(text)
    if (!found) throw new Error(`not well-formed: ${text.slice(at, at + 80)}`)
    const [, close, name, attributes = '', empty] = found
    if (name === undefined) continue
    if (close) {
      expect(open.pop()).toBe(name)
      continue
    }
    if (!empty) open.push(name)
    const pairs = Array.from(attributes.matchAll(/ ([a-z]+)="([^"]*)"/g), ([, key = '', raw = '']) => [
      key,
      decode(raw),
    ])
    elements.push({ name, attributes: Object.fromEntries(pairs) })
  }
  expect(open).toEqual([])
  return elements
}

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"' }
const decode = (raw: string) =>
  raw.replace(/&(?:#(\d+)|([a-z]+));/g, (_, code, name) => NAMED[name] ?? String.fromCharCode(Number(code)))
