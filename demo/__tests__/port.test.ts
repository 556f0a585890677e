import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

const children: ChildProcess[] = []
const servers: Server[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const server of servers.splice(0)) server.close()
})

async function occupyPort(): Promise<number> {
  const server = createServer()
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

function startDemo(port: string) {
  // Not through the tsx command: that is a second process, and killing it would leave the demo
  // behind.
  const args = ['--import', 'tsx', 'demo/main.ts']
  const child = spawn(process.execPath, args, { cwd: ROOT, env: { ...process.env, PORT: port } })
  children.push(child)
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text
  })
  return {
    child,
    output: () => output,
    errors: () => errors,
    async url() {
      while (!/http:\S+/.test(output)) {
        await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
        if (child.exitCode !== null) throw new Error(`the demo ended: ${output}${errors}`)
      }
      return /http:\S+/.exec(output)?.[0] ?? ''
    },
  }
}

test('a port in use is named, the next free one is taken, and one URL is printed', async () => {
  const taken = await occupyPort()
  const demo = startDemo(String(taken))
  const url = await demo.url()
  expect(demo.output()).toContain(`Port ${taken} on 127.0.0.1 is in use`)
  const { hostname, port } = new URL(url)
  expect(hostname).toBe('127.0.0.1')
  expect(Number(port)).toBeGreaterThan(taken)
  expect(demo.output().match(/http:/g)).toHaveLength(1)
  const page = await fetch(url)
  expect(page.status).toBe(200)
  expect(await page.text()).toContain('<title>holdline demo</title>')
})

test('Ctrl-C ends it at once and without an error, with a stream open too', async () => {
  const demo = startDemo('0')
  const url = await demo.url()
  const cookie = (await fetch(url)).headers.get('Set-Cookie')?.split(';')[0] ?? ''
  const stream = await fetch(`${url}api/chat/events`, { headers: { Cookie: cookie } })
  expect(stream.status).toBe(200)
  demo.child.kill('SIGINT')
  const [code] = await once(demo.child, 'exit')
  expect(code).toBe(0)
  expect(demo.errors()).toBe('')
  await stream.text().catch(() => {})
})

test.each([['many'], ['70000'], ['-1']])('PORT=%s is refused in one sentence', async (port) => {
  const demo = startDemo(port)
  const [code] = await once(demo.child, 'exit')
  expect(code).toBe(1)
  expect(demo.errors()).toContain('PORT must be a whole number')
  expect(demo.errors()).not.toContain('    at ')
})

test('a demo that is ended says goodbye to its clients', async () => {
  const demo = startDemo('0')
  const url = await demo.url()
  const page = await fetch(url)
  const cookie = page.headers.get('set-cookie')?.split(';')[0] ?? ''
  const stream = await fetch(new URL('/api/chat/a/events', url), { headers: { cookie } })
  const said = stream.text()
  demo.child.kill('SIGTERM')
  expect(await said).toContain('"goodbye"')
})
