import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { type BuildOptions, build } from 'esbuild'
import { ConnectionError, createConnection } from 'holdline'
import { createChatServer } from 'holdline/server'
import { createHarness, type Harness, sendFails } from 'holdline/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { findBrowser, launch } from '../../../tools/shared/browser'
import { listen } from '../../../tools/shared/listen'
import { type ChatEvent, createChat, type Prompt } from '../chat'
import { createHub } from './hub'
import { createRemote } from './remote'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** When its verdict is there, what was asked before it has been done. */
const ELSEWHERE: Prompt = { type: 'send', sessionId: 's2', prompt: '' }

/** What is said over a port arrives in another task. */
async function until(condition: () => boolean) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

/** Both ends of a port, as `join` and a page hold them. */
function openPage(join: (port: MessagePort) => void) {
  const { port1, port2 } = new MessageChannel()
  const remote = createRemote<ChatEvent, Prompt>(port1)
  join(port2)
  cleanups.push(() => port1.close())
  const chat = createChat(remote, 's1')
  const texts = () => chat.getSnapshot().map(({ text, status = 'said' }) => `${text}: ${status}`)
  return { remote, chat, texts, close: () => port1.close(), hubsEnd: port2 }
}

describe('over real ports', () => {
  let harness: Harness
  let join: (port: MessagePort) => void

  beforeEach(async () => {
    harness = createHarness({
      create(environment) {
        const connection = createConnection(environment)
        join = createHub(connection)
        return connection
      },
    })
    await harness.opens()
  })
  const follows = () => until(() => harness.connection.cursors.length === 1)

  test('all pages share one stream, and each is told the phase', async () => {
    const [one, two] = [openPage(join), openPage(join)]
    await until(() => [one, two].every(({ remote }) => remote.getSnapshot().phase === 'open'))
    harness.stream.fails()
    await until(() => [one, two].every(({ remote }) => remote.getSnapshot().phase === 'backoff'))
    expect(harness.streams).toHaveLength(1)
  })

  test('a prompt of one page is there in all, and its verdict comes to the page that sent it', async () => {
    const [one, two] = [openPage(join), openPage(join)]
    await until(() => one.remote.getSnapshot().phase === 'open')
    harness.stream.fails()
    const { id, settled } = one.chat.say('hi')
    await until(() => one.texts().length + two.texts().length === 2)
    expect([one.texts(), two.texts()]).toEqual([['hi: queued'], ['hi: queued']])
    await harness.reaches('open')
    await harness.passes(1_000)
    expect(await settled).toMatchObject({ status: 'accepted', id, receipt: { ok: true } })
    harness.server.publish('s1', { type: 'prompt', id, text: 'hi' })
    await until(() => two.texts()[0] === 'hi: said')
    expect(two.texts()).toEqual(['hi: said'])
  })

  test('a page that comes later is told all that was said, in order, and then what is new', async () => {
    openPage(join)
    await follows()
    for (const text of 'abc') harness.server.publish('s1', { type: 'token', answer: '1', text })
    const late = openPage(join)
    await until(() => late.texts().length === 1)
    for (const text of 'de') harness.server.publish('s1', { type: 'token', answer: '1', text })
    await until(() => late.texts()[0]?.startsWith('abcde') === true)
    expect(late.texts()).toEqual(['abcde: said'])
    expect(harness.connection.cursors).toMatchObject([{ lastSeq: 5 }])
  })

  test('… of what is left of it, where the server lost history', async () => {
    openPage(join)
    await follows()
    harness.server.publish('s1', { type: 'token', answer: '1', text: 'old' })
    harness.server.restarts()
    await harness.reaches('open')
    harness.server.publish('s1', { type: 'token', answer: '2', text: 'new' })
    const late = openPage(join)
    await until(() => late.texts().length > 0)
    expect(late.texts()).toEqual(['new: said'])
  })

  test('… and of what is on its way', async () => {
    harness.connection.disconnect()
    openPage(join).chat.say('hi')
    await until(() => harness.connection.pending.length === 1)
    const late = openPage(join)
    await until(() => late.texts().length > 0)
    expect(late.texts()).toEqual(['hi: queued'])
  })

  test('errors keep their code on the way', async () => {
    const { remote, chat } = openPage(join)
    harness.server.behaves(sendFails({ status: 403 }))
    const verdict = await chat.say('hi').settled
    expect(verdict).toMatchObject({ status: 'rejected', error: { code: 'forbidden', status: 403, retryable: false } })
    expect('error' in verdict && verdict.error).toBeInstanceOf(ConnectionError)
    harness.stream.fails()
    await until(() => remote.getSnapshot().phase === 'backoff')
    expect(remote.getSnapshot().lastError).toBeInstanceOf(ConnectionError)
    expect(remote.getSnapshot().lastError?.code).toBe('stream-failed')
  })

  test('a page that follows a session twice is told what was said once', async () => {
    const { remote, texts } = openPage(join)
    await follows()
    harness.server.publish('s1', { type: 'token', answer: '1', text: 'a' })
    remote.watch('s1')
    await remote.send(ELSEWHERE).settled
    expect(texts()).toEqual(['a: said'])
  })

  test('a session is followed as long as one page follows it', async () => {
    const [one, two] = [openPage(join), openPage(join)]
    await follows()
    harness.server.publish('s1', { type: 'token', answer: '1', text: 'a' })
    await until(() => one.texts().length + two.texts().length === 2)
    one.chat.leave()
    await one.remote.send(ELSEWHERE).settled
    harness.server.publish('s1', { type: 'token', answer: '1', text: 'b' })
    await until(() => two.texts()[0] === 'ab: said')
    expect(one.texts()).toEqual(['a: said'])
    two.chat.leave()
    await until(() => harness.connection.cursors.length === 0)
  })

  test('a page that is gone is told nothing, and follows nothing', async () => {
    const { close, hubsEnd } = openPage(join)
    await follows()
    close()
    await until(() => harness.connection.cursors.length === 0)
    const told = vi.spyOn(hubsEnd, 'postMessage')
    harness.stream.fails()
    expect(told).not.toHaveBeenCalled()
  })
})

/** A chat over real HTTP: it says what it is asked, and echoes it. */
async function startServer(pages: (request: Request) => Response | undefined = () => undefined) {
  const chat = createChatServer({
    authenticate: () => ({ id: 'me' }),
    authorize: () => true,
    async onCommand({ idempotencyKey: id, sessionId = '', message }) {
      await chat.publish(sessionId, { type: 'prompt', id, text: message.prompt })
      await chat.publish(sessionId, { type: 'token', answer: `${id}`, text: `you said ${message.prompt}` })
    },
  })
  const server = await listen((request) => pages(request) ?? chat.fetch(request))
  cleanups.push(server.close, () => chat.close())
  return server
}

const here = fileURLToPath(new URL('.', import.meta.url))
const code = (contents: string): BuildOptions => ({ stdin: { contents, resolveDir: here, loader: 'ts' } })

async function bundle(options: BuildOptions) {
  const { outputFiles } = await build({
    bundle: true,
    write: false,
    tsconfig: fileURLToPath(new URL('../../../tsconfig.json', import.meta.url)),
    logLevel: 'error',
    ...options,
  })
  return outputFiles?.[0]?.text ?? ''
}

test('in a real worker, over real HTTP, two pages share one stream', async () => {
  const server = await startServer()
  const script = await bundle({
    ...code(`
      import { parentPort, workerData } from 'node:worker_threads'
      import { createConnection } from 'holdline'
      import { createHub } from './hub'
      const connection = createConnection({ url: workerData })
      parentPort.on('message', createHub(connection))
      connection.connect()
    `),
    platform: 'node',
  })
  const worker = new Worker(script, { eval: true, workerData: server.url })
  cleanups.push(() => worker.terminate())
  await once(worker, 'online')
  const join = (port: MessagePort) => worker.postMessage(port, [port as never])
  const [one, two] = [openPage(join), openPage(join)]
  const verdict = await one.chat.say('hi').settled
  expect(verdict.status).toBe('accepted')
  await until(() => [one, two].every(({ texts }) => texts().length === 2))
  expect(two.texts()).toEqual(['hi: said', 'you said hi: said'])
  expect(server.mostStreams).toBe(1)
})

const browserPath = findBrowser()
test.skipIf(!browserPath)('in a real SharedWorker, two tabs of a browser share one stream', async () => {
  // In a browser there is a native one.
  const external = ['eventsource']
  const [worker, page] = await Promise.all([
    bundle({ entryPoints: [`${here}sharedWorker.ts`], external }),
    bundle({
      ...code(`
        import { createChat } from '../chat'
        import { createRemote } from './remote'
        globalThis.chat = createChat(createRemote(new SharedWorker('/worker.js').port), 's1')
      `),
      external,
    }),
  ])
  const script = (text: string) => new Response(text, { headers: { 'content-type': 'text/javascript' } })
  const server = await startServer(({ url }) => {
    if (url.endsWith('/worker.js')) return script(worker)
    if (url.endsWith('/page.js')) return script(page)
    if (!url.endsWith('/tab')) return undefined
    return new Response('<!doctype html><script src="/page.js"></script>', { headers: { 'content-type': 'text/html' } })
  })
  const browser = await launch(browserPath as string)
  cleanups.push(() => browser.close())
  const context = await browser.newContext()
  const tabs = await Promise.all([context.newPage(), context.newPage()])
  for (const tab of tabs) await tab.goto(new URL('/tab', server.url).href)
  const [one, two] = tabs
  await one?.evaluate(`chat.say('hi').settled`)
  await two?.waitForFunction(`chat.getSnapshot().at(-1)?.text === 'you said hi'`)
  expect(server.mostStreams).toBe(1)
  // The line is the worker's: it outlives the tab that opened it.
  await one?.close()
  await two?.evaluate(`chat.say('still there?').settled`)
  expect(server.mostStreams).toBe(1)
})
