import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Cursor } from 'holdline'
import { createChatServer } from 'holdline/server'
import { afterEach, expect, test } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import { bearer, createAgent, type Task, type Work } from './agent'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function until(condition: () => boolean) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

/** A server that gives tasks, over real HTTP. */
async function startServer() {
  const site = {
    token: 't1',
    /** Each one that was applied. */
    answers: [] as unknown[],
    /** What answers have to wait for. */
    gate: Promise.resolve(),
    waiting: 0,
  }
  const chat = createChatServer({
    authenticate: (request) =>
      request.headers.get('authorization') === `Bearer ${site.token}` ? { id: 'agent' } : null,
    authorize: () => true,
    endpoints: { answer: 'answer' },
    async onCommand({ message: { task, text, error } }) {
      site.answers.push([task, text ?? error])
      site.waiting++
      await site.gate
      site.waiting--
    },
  })
  const { url, close } = await listen(chat.fetch)
  cleanups.push(close, () => chat.close())
  return Object.assign(site, {
    url,
    asks: (id: string) => chat.publish('s1', { type: 'task', id, prompt: `prompt ${id}` }),
  })
}

function startAgent(
  { url, token }: { url: string; token: string },
  options: Partial<Work> & { cursors?: Cursor[] } = {},
) {
  const saved: Cursor[] = []
  const failures: unknown[] = []
  const { cursors = [], ...work } = options
  const agent = createAgent(
    { url, cursors, headers: { authorization: `Bearer ${token}` } },
    {
      sessionId: 's1',
      perform: async ({ id }) => `done ${id}`,
      save: (cursor) => saved.push(cursor),
      fail: (error) => failures.push(error),
      ...work,
    },
  )
  cleanups.push(agent.connection.dispose)
  return { ...agent, saved, failures }
}

/** A promise, and what fulfils it. */
function latch() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

test('tasks are answered in order, those from before it came included, and a failure is an answer too', async () => {
  const server = await startServer()
  await server.asks('a')
  const { saved } = startAgent(server, {
    perform: async ({ id }) => {
      if (id === 'b') throw new Error('no')
      return `done ${id}`
    },
  })
  await server.asks('b')
  await server.asks('c')
  await until(() => saved.length === 3)
  expect(server.answers).toEqual([
    ['a', 'done a'],
    ['b', 'Error: no'],
    ['c', 'done c'],
  ])
  expect(saved.map(({ lastSeq }) => lastSeq)).toEqual([1, 2, 3])
})

test('stop: the task that it is at is answered, the rest are left to the next process', async () => {
  const server = await startServer()
  const { open, opened } = latch()
  const begun: string[] = []
  const perform = async ({ id }: Task) => {
    begun.push(id)
    await opened
    return `done ${id}`
  }
  const first = startAgent(server, { perform })
  for (const id of ['a', 'b']) await server.asks(id)
  await until(() => begun.length === 1)
  const stopped = first.stop()
  open()
  await stopped
  expect(server.answers).toEqual([['a', 'done a']])
  expect(first.connection.phase).toBe('idle')

  const second = startAgent(server, { perform, cursors: first.saved })
  await until(() => second.saved.length === 1)
  expect(begun).toEqual(['a', 'b'])
  expect(server.answers).toEqual([
    ['a', 'done a'],
    ['b', 'done b'],
  ])
})

test('stop: an answer without a verdict is given again by the next process, and applied once', async () => {
  const server = await startServer()
  const { open, opened } = latch()
  server.gate = opened
  const first = startAgent(server)
  await server.asks('a')
  await until(() => server.waiting === 1)
  await first.stop(1)
  expect(first.saved).toEqual([])

  const second = startAgent(server, { cursors: first.saved })
  await until(() => second.connection.pending[0]?.status === 'sending')
  open()
  await until(() => second.saved.length === 1)
  expect(server.answers).toEqual([['a', 'done a']])
})

test('a cursor that cannot be saved ends the agent, which says so: no later task is answered over it', async () => {
  const server = await startServer()
  const agent = startAgent(server, { save: () => Promise.reject(new Error('disk full')) })
  for (const id of ['a', 'b']) await server.asks(id)
  await until(() => agent.failures.length > 0)
  expect([agent.failures.map(String), agent.connection.phase]).toEqual([['Error: disk full'], 'idle'])
  await agent.stop()

  const next = startAgent(server, { cursors: agent.saved })
  await until(() => next.saved.length === 2)
  expect(server.answers).toEqual([
    ['a', 'done a'],
    ['b', 'done b'],
  ])
})

test('bearer: a token serves many requests, and is renewed when it is refused', async () => {
  const server = await startServer()
  let renewed = 0
  const agent = createAgent(
    {
      url: server.url,
      headers: bearer(async () => {
        renewed++
        return server.token
      }),
    },
    { sessionId: 's1', perform: async ({ id }) => id, save() {}, fail() {} },
  )
  cleanups.push(agent.connection.dispose)
  await server.asks('a')
  await until(() => server.answers.length === 1 && agent.connection.pending.length === 0)
  expect(renewed).toBe(1)
  server.token = 't2'
  await server.asks('b')
  await until(() => server.answers.length === 2)
  expect(renewed).toBe(2)
  expect(agent.connection.phase).toBe('open')
})

test('bearer: a renewal that fails is tried again with the next request', async () => {
  let fails = true
  const headers = bearer(async () => {
    if (fails) throw new Error('no network')
    return 't1'
  })
  await expect(headers({ reason: 'post', attempt: 0 })).rejects.toThrow('no network')
  fails = false
  expect(await headers({ reason: 'post', attempt: 0 })).toEqual({ authorization: 'Bearer t1' })
})

/** main.ts, in a process of its own. */
async function startProcess(url: string, token: string) {
  const folder = await mkdtemp(join(tmpdir(), 'agent-'))
  cleanups.push(() => rm(folder, { recursive: true }))
  const files = { TOKEN_FILE: join(folder, 'token'), CURSOR_FILE: join(folder, 'cursor') }
  await writeFile(files.TOKEN_FILE, `${token}\n`)
  const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('./main.ts', import.meta.url))], {
    cwd: fileURLToPath(new URL('../../..', import.meta.url)),
    env: { ...process.env, ...files, URL: url, SESSION: 's1' },
    stdio: 'pipe',
  })
  cleanups.push(() => child.kill('SIGKILL'))
  return { child, cursor: async () => JSON.parse(await readFile(files.CURSOR_FILE, 'utf8')) }
}

test('a real process survives SIGTERM until its answer has a verdict, and leaves with 0', async () => {
  const server = await startServer()
  const { open, opened } = latch()
  server.gate = opened
  const { child, cursor } = await startProcess(server.url, 't1')
  await server.asks('a')
  await until(() => server.waiting === 1)
  child.kill('SIGTERM')
  await once(child.stdout, 'data')
  open()
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(server.answers).toEqual([['a', '8 characters']])
  expect(await cursor()).toMatchObject({ sessionId: 's1', lastSeq: 1 })
})

test('a real process that is refused for good says so, and leaves with 1', async () => {
  const server = await startServer()
  const { child } = await startProcess(server.url, 'expired')
  let said = ''
  child.stderr.on('data', (text) => {
    said += text
  })
  expect(await once(child, 'close')).toEqual([1, null])
  expect(said).toContain('unauthorized')
})
