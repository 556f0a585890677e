import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { ENGINES } from './engines'
import type { Engine } from './engines/engine'
import { PROMPT } from './postsPage'
import { describeWith, findTool } from './tools'

const RUN_TIMES = {
  deno: ['run', '--allow-net'],
  bun: [],
  node: [],
} as const

interface Seen {
  readonly method: string
  readonly path: string
  readonly body: string
  readonly hasSecret: boolean
}

const closing: (() => unknown)[] = []
const close = async () => {
  for (const end of closing.splice(0).reverse()) await end()
}
afterEach(close)

async function listen(answer: (seen: Seen, response: ServerResponse) => void) {
  const seen: Seen[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { method = '', url: path = '', headers } = request
    const one = { method, path, body, hasSecret: 'x-secret' in headers || 'idempotency-key' in headers }
    // A server that lets every page do everything: nothing but the client itself keeps a message
    // from going there.
    response.setHeader('Access-Control-Allow-Origin', '*')
    response.setHeader('Access-Control-Allow-Headers', '*, content-type, x-secret, idempotency-key, x-connection-id')
    if (method === 'OPTIONS') return void response.writeHead(204).end()
    if (path !== '/' && path !== '/favicon.ico') seen.push(one)
    answer(one, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return { seen, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const json = (response: ServerResponse, answer: object) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))

/** Each place answers `POST /<place>/send` in its own way. */
async function startSites(script: string) {
  const other = await listen((seen, response) => json(response, seen))
  const site = await listen((seen, response) => {
    const { path } = seen
    const [, place = '', status = ''] = /^\/(\w+?)(\d*)\//.exec(path) ?? []
    if (path === '/')
      response.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><script>${script}</script>`)
    else if (path === '/line/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: welcome\ndata: {"type":"welcome","protocolVersion":2,"connectionId":"c1"}\n\n')
    } else if (path === '/never') return
    else if (path === '/login') json(response, { user: null })
    else if (place === 'slash' && !path.endsWith('/'))
      response.writeHead(Number(status), { location: `${path}/` }).end()
    // Whoever asks where the endpoint is does so without credentials.
    else if (place === 'slash' && !seen.hasSecret) response.writeHead(401).end()
    else if (place === 'login') response.writeHead(Number(status), { location: '/login' }).end()
    else if (place === 'other') response.writeHead(Number(status), { location: `${other.origin}/send` }).end()
    else if (place === 'cut') {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.write('{"ok":')
      // An end without the last chunk, by FIN and not by RST.
      response.flushHeaders()
      setTimeout(() => response.socket?.end(), 50)
    } else json(response, seen)
  })
  return { site, other }
}

const PLACES = ['slash307', 'slash308', 'login301', 'login302', 'login303', 'other302', 'other307', 'other308', 'cut']

/** The rules of design and docs, the same in every engine. */
function check({ site, other }: Awaited<ReturnType<typeof startSites>>, outcomes: Record<string, unknown>) {
  for (const place of ['slash307', 'slash308']) {
    const receipt = { method: 'POST', path: `/${place}/send/`, body: PROMPT, hasSecret: true }
    expect([place, outcomes[place]]).toEqual([place, [{ receipt }, { receipt }]])
  }
  for (const place of PLACES.filter((place) => /^(login|other)/.test(place))) {
    expect([place, outcomes[place]]).toMatchObject([place, [{ code: 'redirected' }, { code: 'redirected' }]])
  }
  for (const place of ['login301', 'login302', 'login303']) {
    const [{ message }] = outcomes[place] as [{ message: string }]
    expect(message).toBe(`POST send: redirected to ${site.origin}/login; log in, or correct \`url\``)
  }
  expect(outcomes.cut).toMatchObject([{ code: expect.stringMatching(/network|bad-response/) }, {}])
  expect(site.seen.filter(({ path, body }) => path === '/login' && body !== '' && body !== '{}')).toEqual([])
  // A page has to ask where a hidden redirect leads: with nothing in it.
  for (const { body, hasSecret } of other.seen) expect([body === '' || body === '{}', hasSecret]).toEqual([true, false])
}

let script = ''
beforeAll(async () => {
  const entry = fileURLToPath(new URL('./postsPage.ts', import.meta.url))
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'iife', write: false })
  script = outputFiles[0]?.text ?? ''
})

const call = (base: string) => `tryPosts(${JSON.stringify(base)}, ${JSON.stringify(PLACES)})`

for (const { name, tools, launch } of ENGINES) {
  describeWith(`POSTs from a page of ${name}`, tools, () => {
    let engine: Engine
    beforeAll(async () => {
      engine = await launch()
    })
    afterAll(() => engine?.close())

    test('C63 C103 C116: follow a redirect only where it leads to the same endpoint of the same origin', async () => {
      const sites = await startSites(script)
      const tab = await engine.open(sites.site.origin)
      check(sites, await tab.evaluate(call(sites.site.origin)))
    })

    test('C70: the farewell arrives beside 60 kB of the page’s own that outlive it too, while the page lives', async () => {
      const { site } = await startSites(script)
      const tab = await engine.open(site.origin)
      await tab.evaluate(`tryFarewell(${JSON.stringify(site.origin)})`)
      const farewells = () => site.seen.filter(({ path }) => path === '/line/suspend')
      await vi.waitFor(() => expect(farewells()).toHaveLength(1), 30_000)
      expect(JSON.parse(farewells()[0]?.body ?? '').sessions).toHaveLength(40)
    })
  })
}

for (const [name, args] of Object.entries(RUN_TIMES)) {
  const command = findTool(name)
  describeWith(`C63 C103 C116: POSTs from ${name}`, { [name]: command }, () => {
    test('follow a redirect only where it is a 307 or 308 within the origin', async () => {
      const sites = await startSites(script)
      const folder = await mkdtemp(join(tmpdir(), 'holdline-posts-'))
      closing.push(() => rm(folder, { recursive: true }))
      const file = join(folder, 'posts.mjs')
      const end = `${call(sites.site.origin)}.then((outcomes) => console.log(JSON.stringify(outcomes)))`
      await writeFile(file, `${script}\n${end}`)
      const { stdout } = await promisify(execFile)(command as string, [...args, file])
      check(sites, JSON.parse(stdout))
      expect(sites.other.seen).toEqual([])
    })
  })
}

afterAll(close)
