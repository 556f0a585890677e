import { Client } from '@langchain/langgraph-sdk/client'
import { createConnection } from 'holdline'
import { createChatServer } from 'holdline/server'
import { createRuns } from 'holdline/server/runs'
import { expect, onTestFinished, test, vi } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import { threadAdapter } from './connection'
import { type ThreadCommand, type ThreadRunsOptions, threadRuns } from './server'

const say = (method: string, data: object) => ({
  method,
  params: { namespace: [], timestamp: Date.now(), data },
})

/** What a graph of one model call says. `pace` is awaited before each delta. */
async function* graph(words: readonly string[], pace: (index: number) => unknown) {
  yield say('lifecycle', { event: 'started' })
  yield say('messages', { event: 'message-start', id: 'm1', role: 'ai' })
  yield say('messages', { event: 'content-block-start', index: 0, content: { type: 'text', text: '' } })
  for (const [index, text] of words.entries()) {
    await pace(index)
    yield say('messages', { event: 'content-block-delta', index: 0, delta: { type: 'text-delta', text } })
  }
  const text = words.join('')
  yield say('messages', { event: 'content-block-finish', index: 0, content: { type: 'text', text } })
  yield say('messages', { event: 'message-finish' })
  yield say('values', { answer: text })
  yield say('lifecycle', { event: 'completed' })
}

async function startServer(stream: ThreadRunsOptions['stream']) {
  const commands: ThreadCommand[] = []
  const server = createChatServer({
    authenticate: () => ({ id: 'alice' }),
    authorize: () => true,
    onCommand: (call) => onCommand(call),
    allowedHosts: 'any',
    // A producer throws on purpose.
    onError: () => {},
  })
  const runs = createRuns({ server })
  const onCommand = threadRuns({
    runs,
    stream(command) {
      commands.push(command)
      return stream(command)
    },
  })
  const http = await listen((request) => server.fetch(request))
  onTestFinished(async () => {
    await Promise.all([server.close(), http.close()])
  })
  return { url: http.url, destroySockets: http.destroySockets, runs, commands }
}

function openPage(url: string, threadId = 't1') {
  const connection = createConnection({ url, backoff: { base: 10, cap: 40 }, pageLifecycle: false })
  connection.on('error', () => {})
  connection.connect()
  const transport = threadAdapter(connection, threadId)
  const thread = new Client({ apiUrl: 'http://unused.invalid' }).threads.stream(threadId, {
    assistantId: 'agent',
    transport,
  })
  let text = ''
  void (async () => {
    for await (const message of thread.messages) for await (const token of message.text) text += token
  })()
  onTestFinished(async () => {
    await thread.close()
    connection.dispose()
  })
  return { connection, thread, text: () => text }
}

const when = (isMet: () => unknown, what: string) =>
  vi.waitFor(
    () => {
      if (!isMet()) throw new Error(`never happened: ${what}`)
    },
    { timeout: 20_000, interval: 5 },
  )

/** Resolves when the test opens it. */
function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open: () => open(), opened }
}

test('the recipe for LangGraph: sockets die in the middle of a run, and the thread shows it whole', async () => {
  const server = await startServer(() =>
    graph(['a', 'b', 'c', 'd'], async (index) => {
      if (index !== 1 && index !== 3) return
      await when(() => page.text() === 'abc'.slice(0, index) && page.connection.isOpen, 'it reads')
      server.destroySockets()
    }),
  )
  const page = openPage(server.url)
  const { run_id } = await page.thread.run.start({ input: { question: 'go' } })
  expect(run_id).toEqual(expect.any(String))
  expect(await page.thread.output).toEqual({ answer: 'abcd' })
  await when(() => page.text() === 'abcd', 'all of it')
  expect(server.commands).toMatchObject([{ threadId: 't1', params: { input: { question: 'go' } } }])
})

test('the recipe for LangGraph: a page that comes in the middle of a run shows it from its first event', async () => {
  const half = gate()
  const server = await startServer(() => graph(['a', 'b'], (index) => index === 1 && half.opened))
  const page = openPage(server.url)
  await page.thread.run.start({ input: null })
  await when(() => page.text() === 'a', 'it reads')
  const late = openPage(server.url)
  await when(() => late.text() === 'a', 'it reads too')
  // A subscription that is opened now hears the run from its begin too.
  const heard: unknown[] = []
  const messages = await page.thread.subscribe({ channels: ['messages'] })
  void (async () => {
    for await (const { params } of messages) heard.push(params.data.event)
  })()
  await when(() => heard.length === 3, 'it has what was said')
  expect(heard).toEqual(['message-start', 'content-block-start', 'content-block-delta'])
  half.open()
  await when(() => page.text() === 'ab' && late.text() === 'ab', 'all of it')
})

test('the recipe for LangGraph: a prompt that is sent offline runs once the line is back', async () => {
  const server = await startServer(() => graph(['a'], () => {}))
  const page = openPage(server.url)
  page.connection.disconnect()
  const starting = page.thread.run.start({ input: null })
  await when(() => page.connection.pending.length === 1, 'it waits')
  page.connection.connect()
  await starting
  expect(await page.thread.output).toEqual({ answer: 'a' })
  expect(server.commands).toHaveLength(1)
})

test('the recipe for LangGraph: a graph that throws ends the run as failed; a command that is none is refused', async () => {
  const server = await startServer(async function* () {
    yield say('lifecycle', { event: 'started' })
    throw new Error('secret')
  })
  const page = openPage(server.url)
  const ends: unknown[] = []
  const lifecycle = await page.thread.subscribe({ channels: ['lifecycle'] })
  void (async () => {
    for await (const { params } of lifecycle) ends.push(params.data)
  })()
  await page.thread.run.start({ input: null })
  await when(() => ends.length === 2, 'its end')
  expect(ends).toEqual([{ event: 'started' }, { event: 'failed', error: 'run failed' }])
  await expect(page.thread.state.get({} as never)).rejects.toThrow('not-supported')
})

test('the recipe for LangGraph: a stop ends the run for every page', async () => {
  const server = await startServer(() => graph(['a', 'b'], (index) => index === 1 && gate().opened))
  const page = openPage(server.url)
  await page.thread.run.start({ input: null })
  await when(() => page.text() === 'a', 'it reads')
  await page.connection.send({ type: 'stop', sessionId: 't1' }).settled
  await page.thread.output
  expect([page.thread.interrupted, (await server.runs.active('t1')).run]).toEqual([true, null])
  expect(server.commands[0]?.signal.aborted).toBe(true)
})
