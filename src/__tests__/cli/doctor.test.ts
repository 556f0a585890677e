import { readFileSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { constants, createGzip } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { freePort } from '../../../tools/shared/freePort'
import { doctorCommand } from '../../cli/doctor'
import { type Finding, TOPICS } from '../../cli/doctor/finding'
import { judge } from '../../cli/doctor/judge'
import type { Exchange, Hold, Observation, Probe, StreamSight, Target } from '../../cli/doctor/observation'
import { isSameSite } from '../../cli/doctor/site'
import { startTalkingServer, type Tampering } from '../support/talkingServer'
import { CERTIFICATE, KEY } from './certificate'
import { fakeIo, runCommand } from './run'

function run(args: readonly string[]) {
  const own = fakeIo()
  return runCommand(doctorCommand(own.io), args, own)
}

interface Result {
  readonly hosts: readonly string[]
  readonly problems: number
  readonly findings: readonly Finding[]
}

/** Of a server that is made worse than it is. */
async function examine(tampering: Tampering = {}, ...flags: string[]) {
  const server = await startTalkingServer({ ...tampering, options: { heartbeat: 60_000, ...tampering.options } })
  const base = ['--json', '--timeout', '4000', '--header', 'Authorization: alice']
  const { out, err, code } = await run([server.options.url, ...base, ...flags])
  await server.close()
  expect(err).toBe('')
  return { ...(JSON.parse(out) as Result), code, url: server.options.url }
}

const problems = ({ findings }: Result) => findings.filter(({ level }) => level === 'problem')
const of = ({ findings }: Result, topic: Finding['topic']) => findings.find((finding) => finding.topic === topic)

/** A machine that is busy is late itself; how much is `ok`, the judges' own tests say. */
const IN_TIME = { level: expect.stringMatching(/^(ok|advice)$/), seen: expect.stringMatching(/^6 frames came/) }

const isStream = (request: Request) => new URL(request.url).pathname.endsWith('/events')

/** Changes the answer to the stream, or to `?ask`. */
const onStream = (change: (response: Response) => Response): Tampering => ({
  async answer(request, next) {
    const response = await next()
    return isStream(request) && !request.url.includes('?ask') ? change(response) : response
  },
})

const named = (response: Response, headers: Readonly<Record<string, string>>) => {
  for (const [name, value] of Object.entries(headers)) response.headers.set(name, value)
  return response
}

/** Each piece waits for `ms` in a line of its own. */
const late = (ms: number) => (response: Response) =>
  new Response(
    response.body?.pipeThrough(
      new TransformStream({
        transform(piece, controller) {
          setTimeout(() => {
            try {
              controller.enqueue(piece)
            } catch {
              // The doctor has gone.
            }
          }, ms)
        },
      }),
    ) ?? null,
    response,
  )

/** What has come is passed on every `ms`, in one piece. */
const inBursts = (ms: number) => (response: Response) => {
  const held: Uint8Array[] = []
  let timer: ReturnType<typeof setInterval>
  const gate = new TransformStream<Uint8Array, Uint8Array>({
    start(controller) {
      timer = setInterval(() => {
        try {
          if (held.length > 0) controller.enqueue(new Uint8Array(Buffer.concat(held.splice(0))))
        } catch {
          // The doctor has gone.
          clearInterval(timer)
        }
      }, ms)
    },
    transform(piece) {
      held.push(piece)
    },
    flush: () => clearInterval(timer),
  })
  return new Response(response.body?.pipeThrough(gate) ?? null, response)
}

/** Takes everything, and gives nothing. */
const never = (response: Response) =>
  new Response(response.body?.pipeThrough(new TransformStream({ transform() {} })) ?? null, response)

function gzipped(flush: number) {
  return (response: Response) => {
    const body = response.body ? Readable.fromWeb(response.body as never).pipe(createGzip({ flush })) : null
    const zipped = new Response(body && (Readable.toWeb(body) as ReadableStream<Uint8Array<ArrayBuffer>>), response)
    return named(zipped, { 'Content-Encoding': 'gzip', Vary: 'Accept-Encoding' })
  }
}

/** Ends the stream after `ms` without a byte. */
const cutsIdle = (ms: number) => (response: Response) => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const watch = (controller: TransformStreamDefaultController) => {
    clearTimeout(timer)
    timer = setTimeout(() => controller.terminate(), ms)
  }
  const gate = new TransformStream({
    start: watch,
    transform(piece, controller) {
      watch(controller)
      controller.enqueue(piece)
    },
  })
  return new Response(response.body?.pipeThrough(gate) ?? null, response)
}

describe.concurrent('holdline doctor', () => {
  test('finds nothing wrong with the server half, and ends with 0', async () => {
    const result = await examine({}, '--idle', '1')
    expect(problems(result)).toEqual([])
    expect(result.code).toBe(0)
    for (const topic of ['address', 'stream', 'compression', 'idle', 'post'] as const)
      expect(of(result, topic)).toMatchObject({ level: 'ok' })
    expect(of(result, 'buffering')).toMatchObject(IN_TIME)
  })

  test('is a line a finding, and a sum', async () => {
    const server = await startTalkingServer(onStream(late(300)))
    const { out, code } = await run([server.options.url, '--header', 'Authorization: alice'])
    await server.close()
    expect(code).toBe(1)
    expect(out).toMatch(/^ok {9}address {6}127\.0\.0\.1 is 127\.0\.0\.1, after \d+ ms\n/)
    expect(out).toMatch(/\nPROBLEM {4}buffering {4}6 frames came .*; expected: each at once.*; fix: .*\n/)
    expect(out).toMatch(/\nnot tried {2}idle {9}not asked for/)
    expect(out).toMatch(/\n\n1 problem, \d hints?\n$/)
  })

  test('frames that are late are a problem', async () => {
    const result = await examine(onStream(late(400)))
    expect(problems(result)).toEqual([
      expect.objectContaining({
        topic: 'buffering',
        seen: expect.stringMatching(/^6 frames came .* late in the middle/),
      }),
    ])
  })

  test('frames that come in bursts are a problem', async () => {
    const result = await examine(onStream(inBursts(900)))
    expect(of(result, 'buffering')).toMatchObject({
      level: 'problem',
      seen: expect.stringMatching(/in bursts of up to [3-6]/),
    })
  })

  test('a stream that is held altogether is a problem, and what was answered at once says that it is held', async () => {
    const result = await examine(onStream(never), '--timeout', '1500')
    expect(of(result, 'buffering')).toMatchObject({
      level: 'problem',
      seen: expect.stringMatching(/no frame within 1\.5 s/),
    })
  })

  test('headers that are held as well are a problem of buffering, not of a server that is away', async () => {
    const result = await examine(
      {
        async answer(request, next) {
          if (isStream(request) && !request.url.includes('?ask'))
            await new Promise((resolve) => setTimeout(resolve, 3_000))
          return next()
        },
      },
      '--timeout',
      '1000',
    )
    expect(of(result, 'buffering')).toMatchObject({
      level: 'problem',
      seen: expect.stringMatching(/^GET events: no answer within 1000 ms, and GET events\?ask was answered 200 after/),
    })
  })

  test('compression that is not flushed is a problem, with the fix of Express', async () => {
    const zipped = gzipped(constants.Z_NO_FLUSH)
    const result = await examine(
      onStream((response) => named(zipped(response), { 'X-Powered-By': 'Express' })),
      '--timeout',
      '1500',
    )
    expect(result.hosts).toEqual(['Express'])
    expect(of(result, 'compression')).toMatchObject({
      level: 'problem',
      seen: expect.stringContaining('(gzip)'),
      fix: expect.stringMatching(/^Express: mount the chat before `compression\(\)`/),
    })
    expect(of(result, 'buffering')).toMatchObject({ level: 'problem' })
  })

  test('compression that is flushed is an advice', async () => {
    const result = await examine(onStream(gzipped(constants.Z_SYNC_FLUSH)))
    expect(of(result, 'compression')).toMatchObject({ level: 'advice' })
    expect(of(result, 'buffering')).toMatchObject(IN_TIME)
    expect(result.code).toBe(0)
  })

  test('a stream that is cut when it is quiet is a problem, with the fix of the proxy', async () => {
    const cut = cutsIdle(2_000)
    const result = await examine(
      onStream((response) => named(cut(response), { Server: 'nginx/1.22.1' })),
      '--idle',
      '20',
    )
    expect(of(result, 'idle')).toMatchObject({
      level: 'problem',
      seen: expect.stringMatching(/^the stream was (ended|cut) after \d\.\d s of silence; the heartbeat is 60\.0 s$/),
      fix: expect.stringMatching(/^nginx: `proxy_read_timeout/),
    })
  })

  test('a heartbeat that does not come is a problem', async () => {
    const lacksPings: Tampering = {
      frames: () => (frame) => (frame.includes('"ping"') ? '' : frame),
      options: { heartbeat: 200 },
    }
    const result = await examine(lacksPings, '--idle', '2')
    expect(of(result, 'idle')).toMatchObject({ level: 'problem', expected: 'something at least every 200 ms' })
  })

  test('a page of HTML in the place of the stream is a route that is missing', async () => {
    const page: Tampering = {
      answer: () =>
        new Response('<!doctype html><title>App</title>', {
          headers: { 'Content-Type': 'text/html', 'X-Powered-By': 'Next.js' },
        }),
    }
    const result = await examine(page)
    expect(problems(result)[0]).toMatchObject({
      topic: 'stream',
      fix: expect.stringMatching(/^a page was served in its place: Next: a route handler/),
    })
  })

  test.each<[number, Record<string, string>, string, RegExp]>([
    [401, {}, 'the credentials that it asks for', /^give valid ones: what --header and --cookie gave was not taken/],
    [404, {}, 'a route', /^give the base URL of the chat, or serve it there: mount the server half/],
    [502, { Server: 'Caddy' }, 'a server behind the proxy', /^Caddy: start the server/],
    [500, {}, 'the log of the server', /log of the server/],
    [204, {}, 'another user', /stay away/],
  ])('%i of the stream leads to %s', async (status, headers, _, fix) => {
    const result = await examine({ answer: () => new Response(status === 204 ? null : 'no', { status, headers }) })
    expect(problems(result)[0]).toMatchObject({ topic: 'stream', fix: expect.stringMatching(fix) })
    expect(result.code).toBe(1)
  })

  test('a refused origin names the fix, and a listed one may call', async () => {
    const refused = await examine({}, '--origin', 'https://app.example')
    expect(problems(refused)[0]).toMatchObject({
      topic: 'stream',
      seen: expect.stringContaining('Origin https://app.example is not'),
      expected: 'pages of https://app.example to be let in',
    })
    expect(of(refused, 'cors')).toMatchObject({ level: 'problem' })
    const options = { allowedOrigins: ['https://app.example'] }
    const listed = await examine({ options }, '--origin', 'https://app.example')
    expect(problems(listed)).toEqual([])
    expect(of(listed, 'cors')).toEqual({ topic: 'cors', level: 'ok', seen: 'pages of https://app.example may call' })
  })

  test('a header that the preflight does not allow is a problem', async () => {
    const options = { allowedOrigins: ['https://app.example'] }
    const result = await examine({ options }, '--origin', 'https://app.example', '--header', 'traceparent: 00')
    expect(of(result, 'cors')).toMatchObject({ level: 'problem', expected: 'also traceparent' })
  })

  test('a redirect within the origin is followed, and an advice; one to a login page is a problem', async () => {
    const slash = await examine({
      answer(request, next) {
        const url = new URL(request.url)
        if (url.pathname.endsWith('/')) return next(new Request(url.href.replace(/\/(?=\?|$)/, ''), request))
        url.pathname += '/'
        return Response.redirect(url.href, 308)
      },
    })
    expect(problems(slash)).toEqual([])
    expect(of(slash, 'redirect')).toMatchObject({ level: 'advice' })
    expect(of(slash, 'buffering')).toMatchObject(IN_TIME)
    const login = await examine({ answer: () => Response.redirect('https://sso.example/login', 302) })
    expect(problems(login)[0]).toMatchObject({ topic: 'redirect', fix: expect.stringContaining('answer 401') })
  })

  test('a POST that comes to another process is told from a route that is missing', async () => {
    const stranger: Tampering = {
      answer: (request, next) =>
        request.method === 'POST' ? Response.json({ error: 'unknown-stream' }, { status: 404 }) : next(),
    }
    expect(of(await examine(stranger), 'post')).toMatchObject({
      level: 'problem',
      fix: expect.stringContaining('sticky sessions'),
    })
    const missing: Tampering = {
      answer: (request, next) => (request.method === 'POST' ? new Response('Cannot POST', { status: 404 }) : next()),
    }
    expect(of(await examine(missing), 'post')).toMatchObject({
      level: 'problem',
      fix: expect.stringContaining('serve it there: mount the server half'),
    })
  })

  test('a cookie that browsers drop is a problem', async () => {
    const result = await examine(onStream((response) => named(response, { 'Set-Cookie': 'sid=1; SameSite=None' })))
    expect(of(result, 'cookies')).toMatchObject({ level: 'problem', seen: expect.stringContaining('the cookie sid') })
  })

  test('a server without probes: frames have no known times, and nothing else is missing', async () => {
    const noProbe: Tampering = { frames: () => (frame) => frame.replace('"probe"', '"nothing"') }
    const result = await examine(noProbe)
    expect(of(result, 'buffering')).toMatchObject({ level: 'unknown' })
    expect(of(result, 'post')).toMatchObject({ level: 'ok', seen: 'POST reconnect is answered 400' })
    expect(result.code).toBe(0)
  })

  test('a stream of something else is told', async () => {
    const other: Tampering = {
      answer: () => new Response('data: {"hello":1}\n\n', { headers: { 'Content-Type': 'text/event-stream' } }),
    }
    expect(problems(await examine(other))[0]).toMatchObject({
      topic: 'stream',
      seen: 'the first frame is one without a name, not a welcome',
    })
  })

  test('a welcome without its empty line, and a stream that ends behind its welcome, are told', async () => {
    const text = 'event: welcome\ndata: {"type":"welcome","protocolVersion":2,"connectionId":"c"}\n'
    const open = new ReadableStream({ start: (sink) => sink.enqueue(new TextEncoder().encode(text)) })
    const endless = await examine(
      onStream((response) => new Response(open, response)),
      '--timeout',
      '1500',
    )
    expect(problems(endless)).toEqual([
      expect.objectContaining({ topic: 'buffering', seen: `${text.length} bytes came, and no whole frame in them` }),
    ])
    const ended = await examine(
      onStream((response) => new Response(`${text}\n`, response)),
      '--idle',
      '1',
    )
    expect(problems(ended)).toEqual([
      expect.objectContaining({ topic: 'stream', seen: expect.stringMatching(/^the stream was ended \d+ ms after/) }),
    ])
  })

  test('a stream that is over at once is told', async () => {
    const result = await examine(onStream((response) => new Response('', response)))
    expect(problems(result)).toEqual([
      expect.objectContaining({ topic: 'stream', seen: 'the stream is over before its first frame' }),
    ])
  })

  test('nothing listens there: one problem, and 1', async () => {
    const { out, code } = await run([`http://127.0.0.1:${await freePort()}/api/chat`, '--json'])
    expect(problems(JSON.parse(out))).toEqual([
      expect.objectContaining({ topic: 'stream', seen: expect.stringContaining('ECONNREFUSED') }),
    ])
    expect(code).toBe(1)
  })

  test('nothing listens there, for https: and for a page of another origin: the same one problem', async () => {
    const port = await freePort()
    const secure = await run([`https://127.0.0.1:${port}/api/chat`, '--json'])
    expect(problems(JSON.parse(secure.out))).toEqual([
      expect.objectContaining({ topic: 'tls', seen: `nothing listens at 127.0.0.1:${port} (ECONNREFUSED)` }),
    ])
    const cross = await run([`http://127.0.0.1:${port}/api/chat`, '--json', '--origin', 'https://app.example'])
    expect(problems(JSON.parse(cross.out))).toEqual([expect.objectContaining({ topic: 'stream' })])
  })

  test('http: to a port that speaks TLS is told as that', async () => {
    const server = createTlsServer({ key: KEY, cert: CERTIFICATE }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const { out } = await run([`http://127.0.0.1:${port}/api/chat`, '--json', '--timeout', '2000'])
    server.close()
    expect(problems(JSON.parse(out))).toEqual([
      {
        topic: 'tls',
        level: 'problem',
        seen: 'the port speaks TLSv1.3, and the URL is http:',
        expected: 'https:',
        fix: 'write https: in the URL',
      },
    ])
  })

  test('a certificate that is not trusted is a problem, and the rest is not tried', async () => {
    const server = createSecureServer({ key: KEY, cert: CERTIFICATE, allowHTTP1: true }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const { out, code } = await run([`https://127.0.0.1:${port}/api/chat`, '--json'])
    server.close()
    expect(problems(JSON.parse(out))).toEqual([
      expect.objectContaining({ topic: 'tls', seen: expect.stringContaining('SELF_SIGNED') }),
    ])
    expect(of(JSON.parse(out), 'http')).toMatchObject({ level: 'ok', seen: expect.stringContaining('HTTP/2') })
    expect(code).toBe(1)
  })

  test('https: without HTTP/2 is told as HTTP/1.1, and a port without TLS as that', async () => {
    const server = createTlsServer({ key: KEY, cert: CERTIFICATE }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const { out } = await run([`https://127.0.0.1:${port}/api/chat`, '--json'])
    server.close()
    expect(of(JSON.parse(out), 'http')).toMatchObject({
      level: 'advice',
      seen: expect.stringContaining('six connections'),
    })
    const plain = await startTalkingServer()
    const { out: other } = await run([plain.options.url.replace('http:', 'https:'), '--json', '--timeout', '2000'])
    await plain.close()
    expect(problems(JSON.parse(other))).toEqual([
      expect.objectContaining({
        topic: 'tls',
        seen: expect.stringContaining('no TLS there'),
        fix: expect.stringContaining('or write http: in the URL'),
      }),
    ])
  })

  test.each([
    ['the URL is none', ['chat'], /error: "chat" is no base URL/],
    ['the URL has a query', ['http://127.0.0.1/?a'], /is no base URL/],
    ['the URL is missing', [], /missing required argument 'url'/],
    ['--idle is too long', ['http://127.0.0.1:1', '--idle', '300'], /--idle is 300: give seconds, from 0 to 290/],
    ['--idle is no number', ['http://127.0.0.1:1', '--idle', 'long'], /it is no number/],
    ['--timeout is 0', ['http://127.0.0.1:1', '--timeout', '0'], /--timeout is 0: give milliseconds/],
    [
      '--origin is a page',
      ['http://127.0.0.1:1', '--origin', 'https://a/b'],
      /--origin is "https:\/\/a\/b": give the origin/,
    ],
    ['--header is none', ['http://127.0.0.1:1', '--header', 'a'], /it is no header/],
  ])('ends with 2, and says why, where %s', async (_, args, says) => {
    const { err, out, code } = await run(args)
    expect([out, err, code]).toEqual(['', expect.stringMatching(says), 2])
  })

  test('--help teaches: what a line means, whose fix, the exit codes, examples', async () => {
    const { out, code } = await run(['--help'])
    expect(code).toBe(0)
    for (const text of [
      'PROBLEM',
      'nginx, Apache, HAProxy, Caddy',
      'Exit code: 0',
      'npx holdline doctor http://',
      '--origin',
    ])
      expect(out).toContain(text)
  })
})

// The judges, without a network.

const exchange = (more: Partial<Exchange> = {}): Exchange => ({
  request: 'GET events',
  status: 200,
  headers: new Headers({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' }),
  text: '',
  ms: 5,
  ...more,
})
const target = (url: string, more: Partial<Target> = {}): Target => ({
  url: new URL(url),
  page: new URL(url).origin,
  headerNames: [],
  hasCookie: false,
  timeout: 10_000,
  ...more,
})
/** Probes that are answered after 5 ms, and come so much later, ms. */
const probes = (...lateness: readonly (number | undefined)[]): readonly Probe[] =>
  lateness.map((late, index) => {
    const sent = 100 + 200 * index
    return { sent, answered: sent + 5, status: 200, came: late === undefined ? undefined : sent + 5 + late }
  })
const WELCOME = { type: 'welcome', protocolVersion: 2, connectionId: 'c', heartbeat: 8_000, features: ['probe'] }
const stream = (more: Partial<StreamSight> = {}): StreamSight => ({
  opened: exchange(),
  first: { ms: 6, name: 'welcome', json: WELCOME },
  bytes: 0,
  over: undefined,
  probes: probes(0, 0, -1, 0, 1, 0),
  hold: undefined,
  ...more,
})
const OVER = { how: 'ended', age: 50, hasFarewell: false } as const
const welcome = (more: object) => ({ ms: 6, name: 'welcome', json: { ...WELCOME, ...more } })
const TLS = { version: 'TLSv1.3', http: 'h2', distrust: undefined, days: 60 } as const
const observation = (more: Partial<Observation> = {}): Observation => ({
  target: target('https://chat.example/api/chat'),
  address: { addresses: ['203.0.113.7'], ms: 3 },
  tls: TLS,
  ask: exchange({ request: 'GET events?ask' }),
  down: stream(),
  up: exchange({
    request: 'POST probe',
    headers: new Headers({ 'Content-Type': 'application/json' }),
    text: '{"ok":true}',
  }),
  hops: [],
  ...more,
})
const by = (headers: Readonly<Record<string, string>>) =>
  exchange({
    headers: new Headers({
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-cache, no-transform',
      ...headers,
    }),
  })
const hold = (more: Partial<Hold> = {}): Hold => ({
  asked: 60_000,
  age: 62_000,
  ending: 'open',
  hasFarewell: false,
  silence: 4_000,
  longestSilence: 8_000,
  longestGap: 8_000,
  ...more,
})
const refusal = (status: number, error: string, message = '') =>
  exchange({
    request: 'POST probe',
    status,
    headers: new Headers({ 'Content-Type': 'application/json' }),
    text: JSON.stringify({ error, message }),
  })
const HAPROXY =
  'HTTP/1.1 400 Bad request\r\n\r\n<html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.\n</body></html>\n'
const cross = (page: string, more: Partial<Target> = {}) => target('https://api.example/chat', { page, ...more })
const cors = (headers: Readonly<Record<string, string>>, more: Partial<Target> = {}): Partial<Observation> => ({
  target: cross('https://app.other', more),
  preflight: exchange({ request: 'OPTIONS send', status: 204, headers: new Headers(headers) }),
  down: stream({ opened: by(headers) }),
})
const ALL = 'content-type, idempotency-key, x-connection-id, x-lane'

test('of what is as it should be there are findings, and none but ok', () => {
  const levels = judge(observation({ down: stream({ hold: hold() }) })).map(({ topic, level }) => `${topic} ${level}`)
  expect(levels).toEqual(
    ['address', 'tls', 'http', 'stream', 'first byte', 'compression', 'buffering', 'idle', 'post'].map(
      (topic) => `${topic} ok`,
    ),
  )
})

const CASES: readonly (readonly [string, Partial<Observation>, Partial<Record<keyof Finding, unknown>>])[] = [
  [
    'a name without an address',
    { address: { failed: 'ENOTFOUND' } },
    { topic: 'address', level: 'problem', seen: 'chat.example has no address (ENOTFOUND)' },
  ],
  [
    'a handshake that fails',
    { tls: { failed: 'ECONNRESET' } },
    {
      topic: 'tls',
      level: 'problem',
      seen: 'no TLS there (ECONNRESET)',
      expected: 'a handshake',
      fix: /^let the host listen with TLS/,
    },
  ],
  [
    'a port for https: at which nothing listens',
    { tls: { failed: 'ETIMEDOUT' } },
    {
      topic: 'tls',
      level: 'problem',
      seen: /^nothing listens at chat\.example \(ETIMEDOUT\)/,
      expected: 'a server',
      fix: /^start the server/,
    },
  ],
  [
    'a certificate that is not trusted',
    { tls: { ...TLS, distrust: 'CERT_HAS_EXPIRED' } },
    { topic: 'tls', level: 'problem', seen: /CERT_HAS_EXPIRED/, fix: /^renew it/ },
  ],
  [
    'a certificate of another name',
    { tls: { ...TLS, distrust: 'ERR_TLS_CERT_ALTNAME_INVALID' } },
    { topic: 'tls', level: 'problem', fix: /^a certificate that names chat\.example/ },
  ],
  [
    'a certificate of an unknown authority',
    { tls: { ...TLS, distrust: 'DEPTH_ZERO_SELF_SIGNED_CERT' } },
    { topic: 'tls', level: 'problem', fix: /NODE_EXTRA_CA_CERTS/ },
  ],
  [
    'a certificate that ends soon',
    { tls: { ...TLS, days: 13 } },
    {
      topic: 'tls',
      level: 'advice',
      seen: 'TLSv1.3, with a certificate for 13 more days',
      expected: 'more than 14',
      fix: 'renew it',
    },
  ],
  ['a certificate that does not', { tls: { ...TLS, days: 14 } }, { topic: 'tls', level: 'ok' }],
  [
    'http: in a network',
    { target: target('http://chat.example/') },
    { topic: 'tls', level: 'advice', seen: /send no `Sec-Fetch-Site`/, expected: 'https:', fix: 'a certificate' },
  ],
  [
    'HTTP/1.1',
    { tls: { ...TLS, http: 'http/1.1' }, ask: by({ Server: 'nginx' }) },
    { topic: 'http', level: 'advice', seen: /six connections/, fix: /^nginx: `listen 443 ssl http2;`/ },
  ],
  [
    'a redirect to another origin',
    { hops: [{ method: 'GET', status: 302, from: 'https://chat.example/a', to: 'https://b.example/' }] },
    { topic: 'redirect', level: 'problem', fix: 'give the base URL of the chat itself' },
  ],
  [
    'a redirect that makes a GET of a POST',
    { hops: [{ method: 'POST', status: 301, from: 'https://chat.example/a', to: 'https://chat.example/b' }] },
    { topic: 'redirect', level: 'problem', expected: /^307 or 308/ },
  ],
  [
    'a redirect of an endpoint to another origin',
    {
      hops: [
        { method: 'GET', status: 301, from: 'http://chat.example/c/events?ask', to: 'https://b.example/c/events?ask' },
      ],
    },
    { topic: 'redirect', level: 'problem', fix: /^give https:\/\/b\.example\/c as the URL/ },
  ],
  [
    'a redirect to a login page of the same origin',
    {
      hops: [
        { method: 'GET', status: 302, from: 'https://chat.example/c/events', to: 'https://chat.example/login?next=/' },
      ],
    },
    { topic: 'redirect', level: 'problem', expected: /not a login page/, fix: /^answer 401/ },
  ],
  [
    'a redirect of a chat that is below /auth',
    {
      hops: [
        {
          method: 'GET',
          status: 301,
          from: 'https://chat.example/auth/events',
          to: 'https://chat.example/auth/c/events',
        },
      ],
    },
    { topic: 'redirect', level: 'advice', fix: /^give https:\/\/chat\.example\/auth\/c as the URL/ },
  ],
  [
    'a redirect that adds a slash',
    {
      hops: [{ method: 'POST', status: 301, from: 'https://chat.example/c/send', to: 'https://chat.example/c/send/' }],
    },
    { topic: 'redirect', level: 'problem', fix: /^no rule about slashes/ },
  ],
  [
    'a redirect that is not followed is no URL to give',
    { up: exchange({ request: 'POST send', status: 301 }) },
    { topic: 'post', level: 'problem', fix: /see `redirect`/ },
  ],
  [
    'a page of HTML, which may be a login page',
    { down: exchange({ headers: new Headers({ 'Content-Type': 'text/html' }), text: '<form>' }) },
    { topic: 'stream', level: 'problem', fix: /mount the server half .*; if it is a login page, answer 401/ },
  ],
  [
    'a POST of a type that is refused',
    { up: exchange({ status: 415 }) },
    { topic: 'post', fix: /take `Content-Type: application\/json`/ },
  ],
  [
    'a welcome of another version',
    { down: stream({ first: welcome({ protocolVersion: 1 }) }) },
    { topic: 'stream', level: 'problem', seen: 'the welcome has `protocolVersion: 1`, not 2' },
  ],
  [
    'a welcome whose name for the stream fits no header',
    { down: stream({ first: welcome({ connectionId: 'é' }) }) },
    { topic: 'stream', level: 'problem', seen: /no `connectionId` that is one/ },
  ],
  [
    'a stream that ends behind its welcome',
    { down: stream({ over: OVER, probes: [] }) },
    {
      topic: 'stream',
      level: 'problem',
      seen: 'the stream was ended 50 ms after it was asked for',
      fix: /Content-Length/,
    },
  ],
  [
    'a goodbye before it was left alone',
    { down: stream({ over: { ...OVER, hasFarewell: true } }) },
    { topic: 'idle', level: 'unknown', seen: 'the server said goodbye after 50 ms' },
  ],
  [
    'a welcome that has no empty line after it',
    { down: stream({ first: undefined, bytes: 92, probes: [] }) },
    {
      topic: 'buffering',
      level: 'problem',
      seen: '92 bytes came, and no whole frame in them',
      fix: /empty line \(`\\n\\n`\)/,
    },
  ],
  [
    'no welcome, and no proxy that shows itself',
    { down: stream({ first: undefined, probes: [] }) },
    { topic: 'buffering', level: 'problem', fix: /without a proxy, let the server flush the headers and the welcome/ },
  ],
  [
    'a stream that was held until a time-out cut it, behind nginx',
    {
      down: stream({
        opened: { ...by({ Server: 'nginx' }), ms: 5_010 },
        first: undefined,
        over: { ...OVER, age: 5_012 },
        probes: [],
      }),
    },
    {
      topic: 'buffering',
      level: 'problem',
      seen: /came with the end of the stream, after 5\.0 s/,
      fix: /^nginx: `proxy_buffering off;`/,
    },
  ],
  [
    'a welcome that is later than its headers',
    { down: stream({ first: { ...welcome({}), ms: 1_200 } }) },
    { topic: 'first byte', level: 'advice', fix: /^the headers were not late/ },
  ],
  [
    'headers that are late',
    { down: stream({ opened: exchange({ ms: 1_190 }), first: { ...welcome({}), ms: 1_200 } }) },
    { topic: 'first byte', level: 'advice', fix: /`authenticate`/ },
  ],
  [
    'no probes',
    { down: stream({ first: welcome({ features: [] }), probes: [] }) },
    { topic: 'buffering', level: 'unknown', seen: /does not announce `probe`/, fix: /--idle 60/ },
  ],
  [
    'a line that is closed without an answer',
    { ask: { failed: 'no answer (other side closed)' }, down: { failed: 'no answer (other side closed)' } },
    { topic: 'stream', level: 'problem', fix: /closes the connection without an answer/ },
  ],
  [
    'a port that browsers refuse',
    { ask: { failed: 'no answer (bad port)' }, down: { failed: 'no answer (bad port)' } },
    { topic: 'stream', level: 'problem', fix: /another port/ },
  ],
  [
    'no answer at all',
    { ask: { failed: 'no answer (ECONNREFUSED)' }, down: { failed: 'no answer (ECONNREFUSED)' } },
    { topic: 'stream', level: 'problem', expected: /^200 with/, fix: /^start the server/ },
  ],
  [
    'a slow first byte',
    { down: stream({ first: { ms: 4_000, name: 'welcome', json: WELCOME } }) },
    { topic: 'first byte', level: 'advice', seen: /4\.0 s/ },
  ],
  [
    'a stream that may be transformed',
    { down: stream({ opened: by({ 'Cache-Control': 'no-cache' }) }) },
    { topic: 'headers', level: 'advice', seen: 'the stream has `Cache-Control: no-cache`', fix: /^send it/ },
  ],
  [
    'a stream that may be kept',
    { down: stream({ opened: by({ 'Cache-Control': 'no-transform' }) }) },
    { topic: 'headers', level: 'advice', expected: /^`no-cache, no-transform`/ },
  ],
  [
    'a stream without Cache-Control',
    { down: stream({ opened: exchange({ headers: new Headers() }) }) },
    { topic: 'headers', level: 'advice', seen: 'the stream has no `Cache-Control`' },
  ],
  [
    'no welcome behind nginx',
    { down: stream({ opened: by({ Server: 'nginx/1.22.1' }), first: undefined, probes: [] }) },
    { topic: 'buffering', level: 'problem', fix: /^nginx: `proxy_buffering off;`/ },
  ],
  [
    'no welcome behind Apache',
    { down: stream({ opened: by({ Server: 'Apache/2.4.57 (Debian)' }), first: undefined, probes: [] }) },
    { topic: 'buffering', level: 'problem', fix: /^Apache: no filter on the stream that holds its output/ },
  ],
  [
    'no welcome behind Vite',
    { hasViteClient: true, down: stream({ first: undefined, probes: [] }) },
    { topic: 'buffering', level: 'problem', fix: /^Vite: no `selfHandleResponse`/ },
  ],
  [
    'no welcome behind two',
    { down: stream({ opened: by({ Server: 'nginx', 'X-Powered-By': 'Express' }), first: undefined, probes: [] }) },
    { topic: 'buffering', fix: /^nginx: .*; Express: / },
  ],
  [
    'no welcome behind something',
    { down: stream({ first: undefined, probes: [] }) },
    { topic: 'buffering', fix: /each proxy on the way/ },
  ],
  [
    'frames that are late by a delayed packet, behind HAProxy',
    { blunder: HAPROXY, down: stream({ probes: probes(200, 199, 200, 201, 198, 200) }) },
    {
      topic: 'buffering',
      level: 'problem',
      fix: 'HAProxy: `option http-no-delay` in `defaults`, or in the frontend and the backend',
    },
  ],
  [
    'frames of which each leaves with the next, behind HAProxy',
    { blunder: HAPROXY, down: stream({ probes: probes(210, 10.5, 210, 10.5, 210, 210) }) },
    {
      topic: 'buffering',
      level: 'problem',
      seen: /in bursts of up to 2, 210 ms late/,
      fix: /^HAProxy: `option http-no/,
    },
  ],
  [
    'frames that are late by a delayed acknowledgement',
    { blunder: HAPROXY, down: stream({ probes: probes(40, 41, 39, 40, 0, 40) }) },
    { topic: 'buffering', level: 'advice', fix: /^HAProxy: `option http-no-delay`/ },
  ],
  [
    'frames that wait for each other',
    { down: stream({ probes: probes(1_000, 800, 600, 400, 200, 0) }) },
    {
      topic: 'buffering',
      level: 'problem',
      seen: '6 frames came in bursts of up to 6, 600 ms late in the middle of them',
    },
  ],
  [
    'a stream that is over at once',
    { down: stream({ first: undefined, over: OVER, probes: [] }) },
    { topic: 'stream', level: 'problem', seen: /over before its first frame/ },
  ],
  [
    'frames that do not come',
    { down: stream({ probes: probes(0, 0, undefined, undefined, undefined, 0) }) },
    { topic: 'buffering', level: 'problem', seen: '3 of 6 frames did not come' },
  ],
  [
    'one frame that is late: a machine that is busy',
    { down: stream({ probes: probes(0, 0, 500, 0, 0, 0) }) },
    { topic: 'buffering', level: 'ok' },
  ],
  [
    'compression that is on time, behind Caddy',
    { down: stream({ opened: by({ 'Content-Encoding': 'gzip', Server: 'Caddy' }) }) },
    { topic: 'compression', level: 'advice', fix: /^Caddy: a matcher for `encode`/ },
  ],
  [
    'compression that is late',
    { down: stream({ opened: by({ 'Content-Encoding': 'br' }), probes: probes(300, 300, 300, 300, 300, 300) }) },
    { topic: 'compression', level: 'problem', seen: /\(br\)/ },
  ],
  [
    'a limit on silence, behind Apache',
    { down: stream({ opened: by({ Server: 'Apache/2.4.57' }), hold: hold({ ending: 'ended', silence: 60_000 }) }) },
    { topic: 'idle', level: 'problem', seen: /after 60\.0 s of silence/, fix: /^Apache: `ProxyTimeout/ },
  ],
  [
    'a limit on the whole answer',
    { down: stream({ hold: hold({ ending: 'cut', age: 30_000, silence: 6_000 }) }) },
    { topic: 'idle', level: 'problem', seen: /cut after 30\.0 s/, fix: /function platform/ },
  ],
  [
    'a goodbye',
    { down: stream({ hold: hold({ ending: 'ended', hasFarewell: true }) }) },
    { topic: 'idle', level: 'unknown', seen: 'the server said goodbye after 62.0 s', fix: /^try again/ },
  ],
  [
    'a heartbeat that is held back',
    { down: stream({ hold: hold({ longestGap: 20_000 }) }) },
    {
      topic: 'idle',
      level: 'problem',
      seen: 'open for 62.0 s, with a frame at least every 20.0 s; the heartbeat is 8.0 s',
      expected: 'something at least every 8.0 s',
      fix: /^the server has to send a ping every 8\.0 s/,
    },
  ],
  [
    'a heartbeat that is late by no more than clients bear',
    { down: stream({ hold: hold({ longestGap: 16_000 }) }) },
    { topic: 'idle', level: 'ok' },
  ],
  [
    'a stream that is quiet, and has no heartbeat to keep',
    { down: stream({ first: welcome({ heartbeat: undefined }), hold: hold({ longestGap: 60_000 }) }) },
    { topic: 'idle', level: 'ok', seen: /; no heartbeat is announced$/ },
  ],
  [
    'an origin that is refused, behind Apache',
    { down: stream({ opened: by({ Server: 'Apache' }) }), up: refusal(403, 'origin', 'Origin a is not b') },
    { topic: 'post', level: 'problem', fix: 'Apache: `ProxyPreserveHost On`, or `allowedOrigins`' },
  ],
  [
    'an origin that is refused, behind Vite',
    { hasViteClient: true, up: refusal(403, 'origin') },
    { topic: 'post', fix: /^Vite: `changeOrigin: false`/ },
  ],
  [
    'a host that is refused',
    { up: refusal(403, 'host') },
    { topic: 'post', expected: 'chat.example to be a name of the server' },
  ],
  [
    'a firewall',
    { up: exchange({ request: 'POST probe', status: 403, text: '<h1>Blocked</h1>' }) },
    { topic: 'post', fix: /firewall/ },
  ],
  ['too many requests', { up: refusal(429, 'too-many') }, { topic: 'post', fix: /^wait/ }],
  ['a server that closes', { up: refusal(503, 'closing') }, { topic: 'post', fix: /closing, or overloaded/ }],
  [
    'a gateway that finds no server, behind HAProxy',
    { blunder: HAPROXY, down: exchange({ status: 503, text: '<h1>503 Service Unavailable</h1>' }) },
    { topic: 'stream', fix: /^HAProxy: start the server, or correct the `server` line/ },
  ],
  [
    'a POST without an answer',
    { up: { failed: 'no answer within 10000 ms' } },
    {
      topic: 'post',
      level: 'problem',
      seen: 'the first POST: no answer within 10000 ms',
      fix: /^let POSTs pass to the server, whole/,
    },
  ],
  [
    'a POST that a page of HTML answers',
    { up: exchange({ request: 'POST probe', text: ' <!doctype html>' }) },
    {
      topic: 'post',
      level: 'problem',
      seen: /^POST probe is answered 200/,
      expected: 'an answer of the chat, in JSON',
    },
  ],
  ['a user who may not', { up: refusal(403, 'forbidden') }, { topic: 'post', level: 'problem', fix: /`authorize`/ }],
  [
    'a POST that is refused else',
    { up: refusal(422, 'x') },
    { topic: 'post', level: 'problem', fix: /with the headers that it asks for$/ },
  ],
  [
    'a type that is no stream',
    { down: exchange({ headers: new Headers({ 'Content-Type': 'application/json' }), text: '{}' }) },
    {
      topic: 'stream',
      level: 'problem',
      seen: 'GET events is answered 200 (application/json) {}',
      fix: /^answer with a stream there/,
    },
  ],
  [
    'an answer that is long',
    { down: exchange({ status: 500, headers: new Headers(), text: `a\n ${'b'.repeat(200)}` }) },
    { topic: 'stream', level: 'problem', seen: `GET events is answered 500 (no Content-Type) a ${'b'.repeat(158)}…` },
  ],
  [
    'a preflight without an answer',
    { target: cross('https://app.other'), preflight: { failed: 'no answer within 1 ms' } },
    {
      topic: 'cors',
      level: 'problem',
      seen: 'the preflight: no answer within 1 ms',
      fix: /^`allowedOrigins: \['https:\/\/app\.other'\]`/,
    },
  ],
  [
    'a preflight that allows no header',
    cors({ 'Access-Control-Allow-Origin': 'https://app.other' }),
    {
      topic: 'cors',
      level: 'problem',
      seen: 'the preflight allows no headers',
      fix: /^`allowedHeaders: \['content-type', 'idempotency-key', /,
    },
  ],
  [
    'a page that is let in',
    cors({ 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*' }),
    { topic: 'cors', level: 'ok', seen: /^pages of https:\/\/app\.other may call, without cookies/ },
  ],
  [
    'a wildcard, with a cookie',
    cors({ 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': ALL }, { hasCookie: true }),
    { topic: 'cors', level: 'problem', expected: '`https://app.other`, once' },
  ],
  [
    'two origins',
    cors({
      'Access-Control-Allow-Origin': 'https://app.other, https://app.other',
      'Access-Control-Allow-Headers': ALL,
    }),
    {
      topic: 'cors',
      level: 'problem',
      seen: /`Access-Control-Allow-Origin: https:\/\/app\.other, https:\/\/app\.other`/,
    },
  ],
  [
    'no credentials, with a cookie',
    cors(
      { 'Access-Control-Allow-Origin': 'https://app.other', 'Access-Control-Allow-Headers': ALL },
      { hasCookie: true },
    ),
    { topic: 'cors', level: 'problem', seen: /no `Access-Control-Allow-Credentials`/ },
  ],
  [
    'a wildcard for Authorization',
    cors(
      { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*' },
      { headerNames: ['authorization'] },
    ),
    { topic: 'cors', level: 'problem', expected: 'also authorization' },
  ],
  [
    'a preflight that is asked for credentials',
    { target: cross('https://app.other'), preflight: exchange({ request: 'OPTIONS send', status: 401 }) },
    { topic: 'cors', level: 'problem', fix: /nothing may ask a preflight for credentials/ },
  ],
  [
    'a cookie that is needed on another site',
    {
      ...cors(
        {
          'Access-Control-Allow-Origin': 'https://app.other',
          'Access-Control-Allow-Credentials': 'true',
          'Access-Control-Allow-Headers': ALL,
        },
        { hasCookie: true },
      ),
    },
    { topic: 'cookies', level: 'advice', expected: /SameSite=None; Secure/ },
  ],
  [
    'a cookie of Lax on another site',
    { target: cross('https://app.other'), up: by({ 'Set-Cookie': 'a=1; Secure; SameSite=Lax' }) },
    { topic: 'cookies', level: 'problem', seen: /`SameSite=Lax`/ },
  ],
  [
    'a cookie without SameSite on another site',
    { target: cross('https://app.other'), up: by({ 'Set-Cookie': 'a=1; Secure' }) },
    { topic: 'cookies', level: 'problem', seen: /no `SameSite`, which is `Lax`/ },
  ],
  [
    'a secure cookie over http:',
    { target: target('http://chat.example/'), up: by({ 'Set-Cookie': 'a=1; Secure' }) },
    { topic: 'cookies', level: 'problem', seen: /the URL is http:/ },
  ],
  [
    'a cookie of another domain',
    { up: by({ 'Set-Cookie': 'a=1; Domain=.other.example; Secure' }) },
    { topic: 'cookies', level: 'problem', seen: 'the cookie a has `Domain=other.example`' },
  ],
  [
    'a cookie without Secure',
    { up: by({ 'Set-Cookie': 'a=1; HttpOnly' }) },
    { topic: 'cookies', level: 'advice', seen: 'the cookie a has no `Secure`', fix: /^add `Secure`/ },
  ],
]

test.each(CASES)('%s', (_, more, expected) => {
  const found = judge(observation(more)).find(
    ({ topic, level }) => topic === expected.topic && (level !== 'ok' || expected.level === 'ok'),
  )
  expect(found).toBeDefined()
  for (const [name, value] of Object.entries(expected)) {
    const seen = found?.[name as keyof Finding]
    if (value instanceof RegExp) expect(seen).toMatch(value)
    else expect(seen).toBe(value)
  }
})

/** What is wrong, and the directive that each host mends it with. */
const DIRECTIVES: readonly (readonly [
  Finding['topic'],
  string,
  Partial<Observation>,
  Readonly<Record<string, RegExp>>,
])[] = [
  [
    'buffering',
    'a stream that is held',
    { down: stream({ first: undefined, probes: [] }) },
    {
      nginx: /`proxy_buffering off;`.*`X-Accel-Buffering: no`.*`proxy_ignore_headers`/,
      Apache: /mod_sed, mod_ext_filter.*`flushpackets=on`/,
      HAProxy: /`option http-no-delay`.*`compression`.*Lua/,
      Caddy: /`flush_interval -1`.*`encode`/,
      Vite: /`selfHandleResponse`.*`server\.proxy`/,
      Next: /`compress: false`.*route handler/,
      Express: /before `compression\(\)`.*`filter`/,
      any: /`X-Accel-Buffering: no`.*against the server itself/,
    },
  ],
  [
    'buffering',
    'packets that wait',
    { down: stream({ probes: probes(200, 200, 200, 200, 200, 200) }) },
    {
      nginx: /`tcp_nodelay on;`/,
      HAProxy: /^HAProxy: `option http-no-delay` in `defaults`/,
      Caddy: /`flush_interval -1`/,
      any: /`TCP_NODELAY`/,
    },
  ],
  [
    'compression',
    'a stream that is compressed',
    { down: stream({ opened: by({ 'Content-Encoding': 'gzip' }) }) },
    {
      nginx: /`gzip off;`.*`gzip_types`/,
      Apache: /no-gzip.*`AddOutputFilterByType DEFLATE`/,
      HAProxy: /`compression type`/,
      Caddy: /matcher for `encode`.*`@rest not path \*\/events`/,
      Next: /`compress: false`/,
      Express: /before `compression\(\)`.*`filter`/,
      any: /`Cache-Control: no-transform`/,
    },
  ],
  [
    'idle',
    'a limit on silence',
    { down: stream({ hold: hold({ ending: 'cut', silence: 60_000 }) }) },
    {
      nginx: /`proxy_read_timeout 1h;`/,
      Apache: /`ProxyTimeout 3600`/,
      HAProxy: /`timeout client` and `timeout server`/,
      Caddy: /`read_timeout` in the `transport`/,
      Vite: /`proxyTimeout`/,
      any: /`heartbeat` well below the limit/,
    },
  ],
  [
    'post',
    'an origin that is refused',
    { up: refusal(403, 'origin') },
    {
      nginx: /`proxy_set_header Host \$http_host;`/,
      Apache: /`ProxyPreserveHost On`/,
      HAProxy: /no rule that sets `Host`/,
      Caddy: /no `header_up Host`/,
      Vite: /`changeOrigin: false`/,
      any: /`allowedOrigins`.*`Host`/,
    },
  ],
  [
    'stream',
    'a route that is missing',
    { down: exchange({ status: 404, text: 'Not found' }) },
    {
      nginx: /`location`.*`proxy_pass`.*`try_files`/,
      Apache: /`ProxyPass`.*`FallbackResource`/,
      HAProxy: /`use_backend`/,
      Caddy: /`reverse_proxy`.*`file_server`/,
      Vite: /`server: \{ proxy: \{/,
      Next: /`app\/api\/chat\/\[endpoint\]\/route\.ts`/,
      Express: /`app\.use\('\/api\/chat', toNodeListener\(chat\)\)` before `express\.static`/,
      any: /mount the server half below that path/,
    },
  ],
  [
    'stream',
    'a gateway that finds no server',
    { down: exchange({ status: 504, text: '' }) },
    {
      nginx: /`proxy_pass`/,
      Apache: /`ProxyPass`/,
      HAProxy: /`server` line/,
      Caddy: /`reverse_proxy`/,
      Vite: /`target`/,
      any: /point the proxy at its address/,
    },
  ],
  [
    'http',
    'HTTP/1.1',
    { tls: { ...TLS, http: 'http/1.1' } },
    {
      nginx: /`listen 443 ssl http2;`/,
      Apache: /mod_http2 with `Protocols h2 http\/1\.1`/,
      HAProxy: /`bind :443 ssl crt … alpn h2,http\/1\.1`/,
      Caddy: /without `http:\/\/`/,
      any: /`holdline\/tabs`/,
    },
  ],
]
/** How each shows itself. */
const SIGNS: Readonly<Record<string, Partial<Observation>>> = {
  nginx: { ask: by({ Server: 'openresty/1.21' }) },
  Apache: { ask: by({ Server: 'Apache/2.4.57' }) },
  HAProxy: { blunder: HAPROXY },
  Caddy: { ask: by({ Via: '1.1 Caddy' }) },
  Vite: { hasViteClient: true },
  Next: { ask: by({ 'X-Powered-By': 'Next.js' }) },
  Express: { ask: by({ 'X-Powered-By': 'Express' }) },
  any: { ask: by({ Server: 'Apache-Coyote/1.1' }) },
}
const EACH = DIRECTIVES.flatMap(([topic, title, fault, fixes]) =>
  Object.entries(fixes).map(([host, fix]) => [title, host, topic, { ...fault, ...SIGNS[host] }, fix] as const),
)

test.each(EACH)('%s, behind %s: the directive that mends it', (_, host, topic, more, fix) => {
  const found = judge(observation(more)).find((finding) => finding.topic === topic)
  expect(found?.fix).toMatch(fix)
  expect(/(^|: |; )(nginx|Apache|HAProxy|Caddy|Vite|Next|Express): /.exec(found?.fix ?? '')?.[2]).toBe(
    host === 'any' ? undefined : host,
  )
})

test.each([
  ['nginx', '<center>nginx/1.22.1</center>'],
  ['Apache', 'Your browser sent a request that this server could not understand.'],
])('%s that hides its headers shows itself in its answer to nonsense', (host, blunder) => {
  const more = { blunder, down: exchange({ status: 502, text: '' }) }
  expect(judge(observation(more)).find(({ topic }) => topic === 'stream')?.fix).toMatch(`${host}: start the server`)
})

test('a redirect of the stream is told once, and not for `?ask` as well', () => {
  const hop = (from: string, to: string) => ({ method: 'GET', status: 308, from, to })
  const hops = [
    hop('https://chat.example/events?ask', 'https://chat.example/events/?ask'),
    hop('https://chat.example/events', 'https://chat.example/events/'),
  ]
  const told = (given: typeof hops) => judge(observation({ hops: given })).filter(({ topic }) => topic === 'redirect')
  expect(told(hops)).toEqual([
    expect.objectContaining({ seen: expect.stringContaining('GET https://chat.example/events is') }),
  ])
  expect(told(hops.slice(0, 1))).toHaveLength(1)
})

test('a cookie of a domain above is kept', () => {
  const up = by({ 'Set-Cookie': 'a=1; Domain=example; Secure' })
  expect(judge(observation({ up })).filter(({ topic }) => topic === 'cookies')).toEqual([])
})

test('each problem and each advice says what to do', () => {
  for (const [, more] of CASES)
    for (const { level, seen, fix } of judge(observation(more)))
      if (level === 'problem' || level === 'advice')
        expect([seen, fix]).toEqual([expect.any(String), expect.stringMatching(/\w/)])
})

test.each([
  ['https://a.example.com', 'https://b.example.com', true],
  ['https://a.example.com', 'http://a.example.com', false],
  ['https://a.example', 'https://b.example', false],
  ['https://a.co.uk', 'https://b.co.uk', false],
  ['https://x.a.co.uk', 'https://y.a.co.uk', true],
  ['http://127.0.0.1:1', 'http://127.0.0.1:2', true],
  ['http://10.0.0.1', 'http://10.1.0.1', false],
])('%s and %s are of one site: %s', (one, other, is) => {
  expect(isSameSite(new URL(one), new URL(other))).toBe(is)
})

test('docs/doctor.md has each option and each topic', () => {
  const page = readFileSync(new URL('../../../docs/doctor.md', import.meta.url), 'utf8')
  for (const { long } of doctorCommand().options) expect(page).toContain(`| \`${long}`)
  for (const topic of TOPICS) expect(page).toContain(`| \`${topic}\` |`)
})
