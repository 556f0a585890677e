import { afterEach, expect, test } from 'vitest'
import { doctorCommand } from '../../src/cli/doctor'
import type { Finding } from '../../src/cli/doctor/finding'
import { kindOf, startProxy, type Tuning } from './proxies/startProxy'
import { startUpstream, type UpstreamOptions } from './proxies/startUpstream'
import { startVite } from './proxies/startVite'
import { describeWith, findPackage, findTool } from './tools'

interface Result {
  readonly hosts: readonly string[]
  readonly findings: readonly Finding[]
  readonly code: number
}

const opened: (() => unknown)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

async function upstreamPort(options: UpstreamOptions = {}) {
  const upstream = await startUpstream(options)
  opened.push(() => upstream.stop())
  return upstream.port
}

async function behind(name: string, tuning: Tuning = {}, options: UpstreamOptions = {}) {
  const proxy = await startProxy(name, await upstreamPort({ h2c: name.endsWith('-h2c'), ...options }), tuning)
  opened.push(() => proxy.stop())
  return proxy.origin
}

async function behindVite(text?: string, options: UpstreamOptions = {}) {
  const vite = await startVite(await upstreamPort(options), text)
  opened.push(() => vite.stop())
  return vite.origin
}

async function examine(origin: string, ...flags: string[]): Promise<Result> {
  let out = ''
  let code = 0
  const command = doctorCommand({
    out(text) {
      out += text
    },
    err() {},
    exitCode(given) {
      code = given
    },
  })
  await command.parseAsync([`${origin}/api/chat`, '--json', '--timeout', '5000', ...flags], { from: 'user' })
  return { ...JSON.parse(out), code }
}

const problems = ({ findings }: Result) => findings.filter(({ level }) => level === 'problem')
const of = ({ findings }: Result, topic: Finding['topic']) => findings.find((finding) => finding.topic === topic)

/** How each shows itself. */
const HOSTS: Readonly<Record<string, string>> = { nginx: 'nginx', apache: 'Apache', haproxy: 'HAProxy', caddy: 'Caddy' }

// The others differ in `Host` alone.
for (const name of ['nginx-alone', 'apache', 'haproxy-no-delay', 'haproxy-h2c', 'caddy', 'caddy-h2c']) {
  const { tool } = kindOf(name)
  describeWith(`the doctor behind ${name}, as documented`, { [tool]: findTool(tool) }, () => {
    test('finds no problem, and knows the proxy', async () => {
      const result = await examine(await behind(name))
      expect([problems(result), result.code]).toEqual([[], 0])
      expect(result.hosts).toEqual([HOSTS[name.split('-')[0] ?? '']])
      expect(of(result, 'buffering')).toMatchObject({ level: 'ok' })
      expect(of(result, 'compression')).toMatchObject({ level: 'ok' })
    })
  })
}

/** Silent for longer than the test. */
const QUIET: UpstreamOptions = { heartbeat: 60_000 }

for (const [name, fix] of [
  ['nginx-alone', /^nginx: `proxy_read_timeout/],
  ['apache', /^Apache: `ProxyTimeout/],
  ['haproxy-no-delay', /^HAProxy: a higher `timeout client` and `timeout server`/],
] as const) {
  const { tool } = kindOf(name)
  describeWith(`the doctor behind ${name}, which cuts what is quiet`, { [tool]: findTool(tool) }, () => {
    test('names the time-out', async () => {
      const result = await examine(await behind(name, { idle: 2 }, QUIET), '--idle', '10')
      expect(of(result, 'idle')).toMatchObject({ level: 'problem', fix: expect.stringMatching(fix) })
      expect(of(result, 'buffering')).toMatchObject({ level: 'ok' })
    })
  })
}

/** The stream does not ask to be let alone. */
const BARE: UpstreamOptions = { isBare: true }
/** For a stream that is held as a whole: it would not come in any time. */
const HELD = ['--timeout', '2000']

describeWith('the doctor behind an nginx as it is by default', { nginx: findTool('nginx') }, () => {
  test('C53: names `proxy_buffering off`', async () => {
    const result = await examine(await behind('nginx-alone', {}, BARE), ...HELD)
    expect(result.hosts).toEqual(['nginx'])
    expect(problems(result)).toEqual([
      expect.objectContaining({
        topic: 'buffering',
        seen: expect.stringMatching(/^GET events: no answer within 2000 ms, and GET events\?ask was answered 200 /),
        fix: expect.stringMatching(/^nginx: `proxy_buffering off;`/),
      }),
    ])
    expect(result.code).toBe(1)
  })

  test('C53: names it as well where a time-out of nginx cuts what it holds', async () => {
    const result = await examine(await behind('nginx-alone', { idle: 2 }, { ...BARE, ...QUIET }))
    expect(problems(result)).toEqual([
      expect.objectContaining({
        topic: 'buffering',
        seen: expect.stringMatching(/^the headers came with the end of the stream, after \d\.\d s$/),
        fix: expect.stringMatching(/^nginx: `proxy_buffering off;`/),
      }),
    ])
  })

  test('with gzip: names that, which nginx flushes', async () => {
    const result = await examine(await behind('nginx-alone', { more: 'gzip on; gzip_types text/event-stream;' }))
    expect(of(result, 'compression')).toMatchObject({
      level: 'advice',
      fix: expect.stringMatching(/^nginx: `gzip off;`/),
    })
    expect(of(result, 'buffering')).toMatchObject({ level: 'ok' })
  })
})

describeWith('the doctor behind an Apache with filters', { apache2: findTool('apache2') }, () => {
  test('names mod_deflate, which compresses in spite of `no-transform`, and flushes', async () => {
    const tuning = { modules: ['filter', 'deflate'], more: 'SetOutputFilter DEFLATE' }
    const result = await examine(await behind('apache', tuning))
    expect(of(result, 'compression')).toMatchObject({
      level: 'advice',
      fix: expect.stringMatching(/^Apache: .*no-gzip/),
    })
    expect(of(result, 'buffering')).toMatchObject({ level: 'ok' })
  })

  test('names filters, where one holds all of it', async () => {
    const tuning = { modules: ['sed'], more: '<Location />\nOutputSed "s/a/a/"\nSetOutputFilter SED\n</Location>' }
    const result = await examine(await behind('apache', tuning), ...HELD)
    expect(of(result, 'buffering')).toMatchObject({
      level: 'problem',
      fix: expect.stringMatching(/^Apache: .*mod_sed/),
    })
  })
})

describeWith('the doctor behind a HAProxy', { haproxy: findTool('haproxy') }, () => {
  test('C53: as Debian sets it: names `http-no-delay`, without which small frames wait for 200 ms', async () => {
    const result = await examine(await behind('haproxy'))
    expect(problems(result)).toEqual([
      expect.objectContaining({
        topic: 'buffering',
        seen: expect.stringMatching(/^6 frames came .*, (1|2)\d\d ms late in the middle of them$/),
        fix: expect.stringMatching(/^HAProxy: `option http-no-delay`/),
      }),
    ])
  })

  test('that compresses: names `compression type`', async () => {
    const more = '  compression algo gzip\n  compression type text/event-stream'
    const result = await examine(await behind('haproxy-no-delay', { more }, BARE), ...HELD)
    expect(result.hosts).toEqual(['HAProxy'])
    expect(of(result, 'headers')).toMatchObject({ level: 'advice' })
    expect(of(result, 'compression')).toMatchObject({
      level: 'problem',
      fix: 'HAProxy: no `text/event-stream` in `compression type`',
    })
  })
})

describeWith('the doctor behind a Caddy that encodes', { caddy: findTool('caddy') }, () => {
  test('names `encode`, which holds what it compresses', async () => {
    const text = `http://127.0.0.1:8080 {
  encode {
    gzip
    minimum_length 1
  }
  reverse_proxy 127.0.0.1:3000
}
`
    const result = await examine(await behind('caddy', { text }), ...HELD)
    expect(result.hosts).toEqual(['Caddy'])
    expect(of(result, 'compression')).toMatchObject({
      level: 'problem',
      fix: expect.stringMatching(/^Caddy: .*`encode`/),
    })
    expect(of(result, 'buffering')).toMatchObject({
      level: 'problem',
      fix: expect.stringMatching(/^Caddy: .*`encode`/),
    })
  })
})

const vite = findTool('vite')
describeWith('the doctor behind Vite', { vite }, () => {
  test('as documented: finds no problem, and knows it', async () => {
    const result = await examine(await behindVite())
    expect([problems(result), result.code]).toEqual([[], 0])
    expect(result.hosts).toEqual(['Vite'])
    expect(of(result, 'buffering')).toMatchObject({ level: 'ok' })
  })

  test('without a proxy: names `server.proxy`; with a target that is away: says so', async () => {
    const origin = await behindVite(`import { defineConfig } from 'vite'
export default defineConfig({ server: { proxy: { '/away': 'http://127.0.0.1:1' } } })
`)
    expect(problems(await examine(origin))[0]).toMatchObject({
      topic: 'stream',
      fix: expect.stringMatching(/Vite: `server: \{ proxy: /),
    })
    const away = await examine(`${origin}/away`)
    expect(problems(away)[0]).toMatchObject({ topic: 'stream', fix: expect.stringMatching(/Vite: start the server/) })
    expect(away.code).toBe(1)
  })
})

describeWith('the doctor behind Vite with a middleware that compresses', { vite, next: findPackage('next') }, () => {
  test('names it', async () => {
    const text = `import { defineConfig } from 'vite'
import compression from 'next/dist/compiled/compression/index.js'
const compress = { name: 'compress', configureServer: ({ middlewares }) => void middlewares.use(compression({ filter: () => true })) }
export default defineConfig({
  plugins: [compress],
  server: { proxy: { '/api': 'http://localhost:3000' } },
})
`
    const result = await examine(await behindVite(text, BARE), ...HELD)
    expect(result.hosts).toEqual(['Vite'])
    expect(of(result, 'buffering')).toMatchObject({
      level: 'problem',
      fix: expect.stringMatching(/Vite: .*compressing plugin/),
    })
  })
})
