import { afterEach, expect, test } from 'vitest'
import { doctorCommand } from '../../src/cli/doctor'
import type { Finding } from '../../src/cli/doctor/finding'
import { snippets } from './proxies/snippet'
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

async function behindVite(text?: string) {
  const vite = await startVite(await upstreamPort(), text)
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

for (const name of snippets().filter((one) => one !== 'vite')) {
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
  ['haproxy', /^HAProxy: a higher `timeout client` and `timeout server`/],
] as const) {
  const { tool } = kindOf(name)
  describeWith(`the doctor behind ${name}, which cuts what is quiet`, { [tool]: findTool(tool) }, () => {
    test('names the time-out', async () => {
      const result = await examine(await behind(name, { idle: 3 }, QUIET), '--idle', '10')
      expect(of(result, 'idle')).toMatchObject({ level: 'problem', fix: expect.stringMatching(fix) })
      expect(of(result, 'buffering')).toMatchObject({ level: 'ok' })
    })
  })
}

describeWith('the doctor behind an nginx that holds streams back', { nginx: findTool('nginx') }, () => {
  const HOLDS = 'proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;'
  const GZIP = 'gzip on; gzip_types text/event-stream;'

  test('by buffering: it names `proxy_buffering off`', async () => {
    const result = await examine(await behind('nginx-alone', { more: HOLDS }))
    expect(result.hosts).toEqual(['nginx'])
    expect(of(result, 'buffering')).toMatchObject({
      level: 'problem',
      fix: expect.stringContaining('nginx: `proxy_buffering off;`'),
    })
    expect(result.code).toBe(1)
  })

  test('by both: it names both', async () => {
    const result = await examine(await behind('nginx-alone', { more: HOLDS + GZIP }))
    expect(of(result, 'buffering')).toMatchObject({ level: 'problem', fix: expect.stringContaining('`gzip off;`') })
  })

  test('by compressing: it names gzip', async () => {
    const result = await examine(await behind('nginx-alone', { more: GZIP }))
    expect(of(result, 'compression')).toMatchObject({ fix: expect.stringMatching(/^nginx: `gzip off;`/) })
  })
})

describeWith('the doctor behind an Apache with mod_deflate', { apache2: findTool('apache2') }, () => {
  test('names it', async () => {
    const tuning = { modules: ['filter', 'deflate'], more: 'SetOutputFilter DEFLATE' }
    const result = await examine(await behind('apache', tuning))
    expect(of(result, 'compression')).toMatchObject({ fix: expect.stringMatching(/^Apache: .*no-gzip/) })
  })

  test('and with mod_buffer: names that', async () => {
    const tuning = { modules: ['buffer'], more: 'SetOutputFilter BUFFER' }
    const result = await examine(await behind('apache', tuning))
    expect(of(result, 'buffering')).toMatchObject({
      level: 'problem',
      fix: expect.stringMatching(/^Apache: .*mod_buffer/),
    })
  })
})

describeWith('the doctor behind a HAProxy that compresses', { haproxy: findTool('haproxy') }, () => {
  test('names `compression type`', async () => {
    const more =
      '  http-response del-header Cache-Control\n  compression algo gzip\n  compression type text/event-stream'
    const result = await examine(await behind('haproxy', { more }))
    expect(result.hosts).toEqual(['HAProxy'])
    expect(of(result, 'compression')).toMatchObject({ fix: 'HAProxy: no `text/event-stream` in `compression type`' })
    expect(of(result, 'headers')).toMatchObject({ level: 'advice' })
  })
})

describeWith('the doctor behind a Caddy that encodes', { caddy: findTool('caddy') }, () => {
  test('names `encode`', async () => {
    const text = `http://127.0.0.1:8080 {
  encode gzip
  reverse_proxy 127.0.0.1:3000 {
    header_down -Cache-Control
  }
}
`
    const result = await examine(await behind('caddy', { text }))
    expect(result.hosts).toEqual(['Caddy'])
    const found = result.findings.filter(({ fix }) => fix?.includes('Caddy') && /encode/.test(fix))
    expect(found.map(({ topic }) => topic)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^(buffering|compression)$/)]),
    )
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

  test('without a proxy: names `server.proxy`', async () => {
    const result = await examine(
      await behindVite("import { defineConfig } from 'vite'\nexport default defineConfig({})\n"),
    )
    expect(problems(result)[0]).toMatchObject({
      topic: 'stream',
      fix: expect.stringMatching(/Vite: `server: \{ proxy: /),
    })
  })

  test('with the wrong target: says that no server is behind it', async () => {
    const result = await examine(
      await behindVite(
        "import { defineConfig } from 'vite'\nexport default defineConfig({ server: { proxy: { '/api': 'http://127.0.0.1:1' } } })\n",
      ),
    )
    expect(problems(result)[0]).toMatchObject({ topic: 'stream', fix: expect.stringMatching(/Vite: start the server/) })
    expect(result.code).toBe(1)
  })
})

describeWith('the doctor behind Vite with a middleware that compresses', { vite, next: findPackage('next') }, () => {
  test('names it', async () => {
    const text = `import { defineConfig } from 'vite'
import compression from 'next/dist/compiled/compression/index.js'
const compress = { name: 'compress', configureServer: ({ middlewares }) => void middlewares.use(compression({ filter: () => true })) }
const keepNothing = (proxy) => proxy.on('proxyRes', (answer) => delete answer.headers['cache-control'])
export default defineConfig({
  plugins: [compress],
  server: { proxy: { '/api': { target: 'http://localhost:3000', configure: keepNothing } } },
})
`
    const result = await examine(await behindVite(text))
    expect(result.hosts).toEqual(['Vite'])
    expect(of(result, 'buffering')).toMatchObject({
      level: 'problem',
      fix: expect.stringMatching(/Vite: .*compressing plugin/),
    })
  })
})
