import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type BaseEvent, HttpAgent, type RunAgentInput } from '@ag-ui/client'
import { ConnectionError, createConnection } from 'holdline'
import { expect, onTestFinished, test } from 'vitest'
import { HoldlineAgent, sessionIdOf } from '../../ag-ui'
import { aguiRuns, threadIdOf } from '../../ag-ui/server'
import { createChatServer } from '../../server'
import { createRuns } from '../../server/runs'
import { startScripted } from '../support/runsWorld'
import { gate, openPage, type Plain, paced, saying, startAgentServer, when } from './agentWorld'

const INTERRUPT = { id: 'i1', reason: 'approval', message: 'Delete 3 files?' }
const TOOL = { name: 'pick', description: 'picks a color', parameters: { type: 'object', properties: {} } }

const asking = ({ threadId, runId }: RunAgentInput): readonly Plain[] => [
  { type: 'RUN_STARTED', threadId, runId },
  { type: 'RUN_FINISHED', threadId, runId, outcome: { type: 'interrupt', interrupts: [INTERRUPT] } },
]

const calling = ({ threadId, runId }: RunAgentInput, toolCallName = 'pick'): readonly Plain[] => [
  { type: 'RUN_STARTED', threadId, runId },
  { type: 'TOOL_CALL_START', toolCallId: 'c1', toolCallName },
  { type: 'TOOL_CALL_ARGS', toolCallId: 'c1', delta: '{"a":' },
  { type: 'TOOL_CALL_ARGS', toolCallId: 'c1', delta: '1}' },
  { type: 'TOOL_CALL_END', toolCallId: 'c1' },
  { type: 'RUN_FINISHED', threadId, runId },
]

/** Asks for an approval first, and says what it was given. */
const approving = () =>
  startAgentServer({
    answer: (input) =>
      paced(input.resume ? saying(input, `${input.resume[0]?.status}:${input.resume[0]?.payload}`) : asking(input)),
  })

test('an interrupt suspends the run, and the resume goes on with the same one: for a page that knows it, and for one that does not', async () => {
  for (const isReloaded of [false, true]) {
    const server = await approving()
    const page = openPage(server.url)
    await page.say('delete')
    expect(page.agent.pendingInterrupts).toEqual([INTERRUPT])
    const { run } = await server.runs.active('thread')
    expect(run).toMatchObject({ state: 'suspended', waitsFor: { interruptIds: ['i1'] } })
    const told: unknown[] = []
    const answering = isReloaded ? openPage(server.url, { initialMessages: page.agent.messages }) : page
    if (isReloaded) page.close()
    answering.connection.on('message', ({ type, run: name }) => {
      if (String(type).startsWith('run.')) told.push([type, name])
    })
    const events: unknown[] = []
    await answering.agent.runAgent(
      { resume: [{ interruptId: 'i1', status: 'resolved', payload: 'yes' }] },
      { onEvent: ({ event }) => void events.push(event.type) },
    )
    expect([answering.text(), events.at(-1)]).toEqual(['resolved:yes', 'RUN_FINISHED'])
    expect((await server.runs.active('thread')).run).toBeNull()
    expect(told.slice(-2)).toEqual([
      ['run.resumed', run?.id],
      ['run.ended', run?.id],
    ])
    expect(answering.failures).toEqual([])
  }
})

test('a page that is opened while a run waits is shown the interrupt, and answers it; the first page is not asked again', async () => {
  const server = await approving()
  const page = openPage(server.url)
  await page.say('delete')
  const other = openPage(server.url)
  await other.agent.connectAgent()
  expect(other.agent.pendingInterrupts).toEqual([INTERRUPT])
  await other.agent.runAgent({ resume: [{ interruptId: 'i1', status: 'cancelled' }] })
  expect(other.text()).toBe('cancelled:undefined')
  // Its answer comes too late: it must not begin a run of its own.
  await page.agent.runAgent({ resume: [{ interruptId: 'i1', status: 'resolved', payload: 'yes' }] })
  expect([server.inputs.length, page.last()]).toMatchObject([2, { type: 'RUN_ERROR', code: 'http-409' }])
})

test('two answers to one interrupt: the first one takes the run, the other is refused', async () => {
  const half = gate()
  const server = await startAgentServer({
    answer: (input) =>
      input.resume
        ? paced(saying(input, 'a', 'b'), (at) => (at === 3 ? half.opened : undefined))
        : paced(asking(input)),
  })
  const page = openPage(server.url, { follows: true })
  await page.say('delete')
  const other = openPage(server.url)
  await other.agent.connectAgent()
  const resume = [{ interruptId: 'i1', status: 'resolved' as const }]
  const running = other.agent.runAgent({ resume })
  await when(() => other.text() === 'a', 'it goes on')
  await when(() => !page.agent.isRunning || page.text() === 'a', 'the first page knows')
  const late = openPage(server.url)
  late.agent.pendingInterrupts = [INTERRUPT]
  const { run } = await server.runs.active('thread')
  const verdict = await late.connection.send({
    type: 'send',
    sessionId: 'thread',
    answers: run?.id,
    input: { threadId: 'thread', runId: 'late', messages: [], resume },
  }).settled
  expect(verdict).toMatchObject({
    status: 'rejected',
    error: { status: 409, message: expect.stringContaining('answered') },
  })
  half.open()
  await running
  expect(other.text()).toBe('ab')
})

test("a tool of the client's suspends the run, its result goes on; a backend's own call does not wait", async () => {
  const server = await startAgentServer({
    answer: (input) => {
      const last = input.messages.at(-1)
      return paced(last?.role === 'tool' ? saying(input, `it is ${last.content}`) : calling(input))
    },
  })
  const page = openPage(server.url)
  page.agent.addMessage({ id: 'u1', role: 'user', content: 'color?' })
  await page.agent.runAgent({ tools: [TOOL] })
  expect((await server.runs.active('thread')).run).toMatchObject({
    state: 'suspended',
    waitsFor: { toolCallIds: ['c1'] },
  })
  page.agent.addMessage({ id: 't1', role: 'tool', toolCallId: 'c1', content: 'red' })
  await page.agent.runAgent({ tools: [TOOL] })
  expect(page.text()).toBe('it is red')
  expect((await server.runs.active('thread')).run).toBeNull()
  // The next one knows no such tool.
  const other = openPage(server.url, { threadId: 'other' })
  await other.say('color?')
  expect((await server.runs.active('other')).run).toBeNull()
})

test('a prompt while the run waits for a tool ends that run, and is answered', async () => {
  const server = await startAgentServer({
    answer: (input) => paced(server.inputs.length === 1 ? calling(input) : saying(input, 'never mind')),
  })
  const page = openPage(server.url)
  page.agent.addMessage({ id: 'u1', role: 'user', content: 'color?' })
  await page.agent.runAgent({ tools: [TOOL] })
  await page.say('forget it')
  expect([page.text(), page.failures]).toEqual(['never mind', []])
})

test('a follower sees a run that waited and goes on, each event once', async () => {
  const server = await approving()
  const [page, other] = [openPage(server.url), openPage(server.url, { follows: true })]
  await when(() => other.connection.cursors.length === 1, 'it follows')
  await page.say('delete')
  await when(() => other.agent.pendingInterrupts.length === 1, 'it is asked too')
  await page.agent.runAgent({ resume: [{ interruptId: 'i1', status: 'resolved', payload: 'yes' }] })
  await when(() => other.text() === 'resolved:yes' && !other.agent.isRunning, 'it follows')
  expect(other.agent.messages).toEqual(page.agent.messages)
  expect([other.agent.pendingInterrupts, other.failures]).toEqual([[], []])
})

test('a stop closes whatever is open: calls, reasoning, steps and subagents, those of a subagent under its name', async () => {
  const open: readonly Plain[] = [
    { type: 'STEP_STARTED', stepName: 'tools' },
    { type: 'SUBAGENT_STARTED', subagentRunId: 's1', name: 'helper' },
    { type: 'STEP_STARTED', stepName: 'tools', subagentRunId: 's1' },
    { type: 'REASONING_START', messageId: 'r' },
    { type: 'REASONING_MESSAGE_START', messageId: 'r', role: 'reasoning' },
    { type: 'REASONING_MESSAGE_CONTENT', messageId: 'r', delta: 'hm' },
    { type: 'TOOL_CALL_START', toolCallId: 'c', toolCallName: 'search', subagentRunId: 's1' },
    { type: 'TEXT_MESSAGE_START', messageId: 'm', role: 'assistant' },
    { type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta: 'a' },
  ]
  const server = await startAgentServer({
    answer: (input) => paced([...saying(input).slice(0, 1), ...open], (at) => (at === 10 ? gate().opened : undefined)),
  })
  const page = openPage(server.url)
  const running = page.say('go')
  await when(() => page.text() === 'a', 'it reads')
  openPage(server.url).agent.stop()
  await running
  expect([page.last(), page.failures]).toMatchObject([{ outcome: { type: 'cancelled' } }, []])
})

test('what an agent yields of every kind arrives as it was said', async () => {
  const server = await startAgentServer({
    answer: (input) =>
      paced([
        ...saying(input, 'a').slice(0, -1),
        ...calling(input, 'search').slice(1, -1),
        { type: 'TOOL_CALL_RESULT', messageId: 'r1', toolCallId: 'c1', content: 'found', role: 'tool' },
        { type: 'STATE_SNAPSHOT', snapshot: { n: 1 } },
        { type: 'STATE_DELTA', delta: [{ op: 'replace', path: '/n', value: 2 }] },
        { type: 'ACTIVITY_SNAPSHOT', messageId: 'a1', activityType: 'PLAN', content: { step: 1 }, replace: true },
        { type: 'CUSTOM', name: 'note', value: [null, 1] },
        { type: 'TEXT_MESSAGE_CHUNK', messageId: 'm2', role: 'assistant', delta: 'x' },
        { type: 'TEXT_MESSAGE_CHUNK', messageId: 'm2', role: 'assistant', delta: 'y' },
        { type: 'RUN_FINISHED', threadId: input.threadId, runId: input.runId, result: { ok: true } },
      ]),
  })
  const page = openPage(server.url)
  page.agent.addMessage({ id: 'u', role: 'user', content: 'go' })
  const { result } = await page.agent.runAgent()
  expect(result).toEqual({ ok: true })
  expect(page.agent.state).toEqual({ n: 2 })
  expect(page.agent.messages.map(({ role }) => role)).toEqual([
    'user',
    'assistant',
    'assistant',
    'tool',
    'activity',
    'assistant',
  ])
  expect(page.text()).toBe('xy')
  expect(page.failures).toEqual([])
})

/** An AG-UI endpoint as others write it, that knows nothing of holdline. */
async function startEndpoint(answer: (input: RunAgentInput) => readonly Plain[], status = 200) {
  const bodies: RunAgentInput[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const input = JSON.parse(Buffer.concat(chunks).toString()) as RunAgentInput
    bodies.push(input)
    if (status !== 200) return response.writeHead(status).end('no such agent')
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    for (const event of answer(input)) response.write(`data: ${JSON.stringify(event)}\n\n`)
    response.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/agent`), bodies }
}

test('in front of an unchanged AG-UI endpoint: it gets what HttpAgent would post, and the page the same messages', async () => {
  const endpoint = await startEndpoint((input) => saying(input, 'a', 'b'))
  const server = await startAgentServer({ upstream: endpoint.url })
  const page = openPage(server.url, { threadId: 'org:1/thread.2', initialState: { n: 1 } })
  await page.say('go')
  const plain = new HttpAgent({ url: String(endpoint.url), threadId: 'org:1/thread.2', initialState: { n: 1 } })
  plain.messages = structuredClone(page.agent.messages.slice(0, 1))
  await plain.runAgent()
  const [ours, theirs] = endpoint.bodies
  expect({ ...ours, runId: '' }).toEqual({ ...theirs, runId: '' })
  expect(page.text()).toBe('ab')
})

test('an endpoint that refuses, or breaks off before the end, ends the run as RUN_ERROR', async () => {
  const refusing = await startEndpoint(() => [], 404)
  const page = openPage((await startAgentServer({ upstream: refusing.url })).url)
  await page.say('go')
  expect(page.last()).toMatchObject({ type: 'RUN_ERROR', code: 'http-404', message: 'HTTP 404: no such agent' })
  const broken = await startEndpoint((input) => saying(input, 'a').slice(0, 3))
  const server = await startAgentServer({ upstream: broken.url })
  const other = openPage(server.url)
  await other.say('go')
  expect([other.text(), other.last()]).toMatchObject(['a', { type: 'RUN_ERROR', code: 'run-failed' }])
  expect(String(server.errors[0])).toContain('without RUN_FINISHED or RUN_ERROR')
})

test('a run may be what an agent of AG-UI returns: an Observable', async () => {
  const endpoint = await startEndpoint((input) => saying(input, 'a'))
  const server = await startAgentServer({
    answer: (input) => new HttpAgent({ url: String(endpoint.url) }).run(input),
  })
  const page = openPage(server.url)
  await page.say('go')
  expect(page.text()).toBe('a')
})

test('a clone speaks over the same line, and the thread goes on there', async () => {
  const half = gate()
  const server = await startAgentServer({
    answer: (input) => paced(saying(input, 'a', 'b'), (at) => (at === 3 ? half.opened : undefined)),
  })
  const page = openPage(server.url)
  const clone = page.agent.clone()
  clone.addMessage({ id: 'u', role: 'user', content: 'go' })
  const running = clone.runAgent()
  await when(() => clone.messages.at(-1)?.content === 'a', 'it reads')
  const connecting = page.agent.connectAgent()
  await when(() => page.text() === 'a', 'the original reads too')
  half.open()
  await Promise.all([running, connecting])
  expect(page.agent.messages).toEqual(clone.messages)
})

test('thread ids of any kind are sessions, and come back', () => {
  for (const id of ['t1', 'org:1/thread.2', 'b64_x', 'ü', '']) expect(threadIdOf(sessionIdOf(id))).toBe(id)
  expect(() => sessionIdOf('ü'.repeat(50))).toThrow(ConnectionError)
})

test('an input that is too large is refused before it is sent, and the error says what to do', async () => {
  const server = await startAgentServer({})
  const page = openPage(server.url, { maxBytes: 1_000 })
  await page.say('x'.repeat(1_000)).catch(() => {})
  expect(page.failures[0]).toMatchObject({ code: 'invalid-message', message: expect.stringContaining('agent.use') })
  expect(page.connection.pending).toEqual([])
})

test('bad options name the culprit', () => {
  const connection = createConnection({ url: 'http://127.0.0.1:1', pageLifecycle: false })
  onTestFinished(() => connection.dispose())
  for (const options of [
    { onAbort: 'no' },
    { maxBytes: 0 },
    { maxBytes: Number.NaN },
    { history: 1 },
    { connection: {} },
  ]) {
    expect(() => new HoldlineAgent({ connection, ...options } as never)).toThrow(
      new RegExp(Object.keys(options)[0] ?? ''),
    )
  }
  const server = createChatServer({ authenticate: () => null, authorize: () => true, onCommand: () => null })
  const runs = createRuns({ server })
  onTestFinished(() => server.close())
  for (const options of [{}, { runs }, { runs, run: 1 }, { runs, upstream: '/x' }]) {
    expect(() => aguiRuns(options as never)).toThrow(TypeError)
  }
})

test.each([
  ['no input', {}],
  ['an input without messages', { input: { runId: 'r' } }],
  ['messages that are none', { input: { runId: 'r', messages: [1] } }],
  ['a tool message without its call', { input: { runId: 'r', messages: [{ id: 'm', role: 'tool' }] } }],
  ['tools that are none', { input: { runId: 'r', messages: [], tools: ['x'] } }],
  ['a resume that is none', { input: { runId: 'r', messages: [], resume: {} } }],
])('a command that is no input is rejected: %s', async (_, fields) => {
  const server = await startAgentServer({})
  const page = openPage(server.url)
  const verdict = await page.connection.send({ type: 'send', sessionId: 'thread', ...fields }).settled
  expect(verdict).toMatchObject({ status: 'rejected', error: { status: 400 } })
})

test('a producer that yields what is no event fails, and says so to the server alone', async () => {
  const server = await startAgentServer({
    answer: async function* () {
      yield 'text' as unknown as BaseEvent
    },
  })
  const page = openPage(server.url)
  await page.say('go')
  expect(page.last()).toMatchObject({ type: 'RUN_ERROR', code: 'run-failed' })
  expect(String(server.errors[0])).toContain('no AG-UI event: "text"')
})

test('the server comes back with an empty log: the run ends as RUN_ERROR, and the next input is answered', async () => {
  const [old, fresh] = await Promise.all([
    startAgentServer({
      answer: (input) => paced(saying(input, 'a', 'b'), (at) => (at === 3 ? gate().opened : undefined)),
    }),
    startAgentServer({ answer: (input) => paced(saying(input, 'c')) }),
  ])
  let url = old.url
  const page = openPage(url, { line: { fetch: (input, init) => fetch(String(input).replace(old.url, url), init) } })
  const running = page.say('go')
  await when(() => page.text() === 'a', 'it reads')
  url = fresh.url
  old.destroySockets()
  await running
  expect([page.text(), page.last()]).toMatchObject(['a', { type: 'RUN_ERROR', code: 'run-interrupted' }])
  await page.say('again')
  expect([page.text(), page.last()?.type, page.failures]).toEqual(['c', 'RUN_FINISHED', []])
})

test('a follower is told a run that began and ended while it was offline, once', async () => {
  const server = await startAgentServer({ answer: (input) => paced(saying(input, 'a', 'b')) })
  const [page, other] = [openPage(server.url), openPage(server.url, { follows: true })]
  await when(() => other.connection.cursors.length === 1, 'it follows')
  await page.say('one')
  await when(() => other.texts().length === 2 && !other.agent.isRunning, 'the first one')
  other.connection.disconnect()
  await page.say('two')
  other.connection.connect()
  await when(() => other.texts().length === 4 && !other.agent.isRunning, 'the second one')
  expect(other.agent.messages).toEqual(page.agent.messages)
})

test('deltas that say more than their text stay for themselves', async () => {
  const id = { messageId: 'm' }
  const server = await startAgentServer({
    answer: (input) =>
      paced(
        [
          ...saying(input).slice(0, 1),
          { type: 'TEXT_MESSAGE_START', ...id, role: 'assistant' },
          { type: 'TEXT_MESSAGE_CONTENT', ...id, delta: 'first ' },
          { type: 'TEXT_MESSAGE_CONTENT', ...id, delta: 'a', timestamp: 1 },
          { type: 'TEXT_MESSAGE_CONTENT', ...id, delta: 'b', timestamp: 2 },
          { type: 'TEXT_MESSAGE_CONTENT', ...id, delta: 'c', rawEvent: { n: 1 } },
          { type: 'TEXT_MESSAGE_CONTENT', ...id, delta: 'd', rawEvent: { n: 1 } },
          { type: 'TEXT_MESSAGE_CONTENT', ...id, delta: 'e', metadata: { k: 1 } },
          { type: 'TEXT_MESSAGE_END', ...id },
          { type: 'RUN_FINISHED', threadId: input.threadId, runId: input.runId },
        ],
        () => undefined,
      ),
  })
  const page = openPage(server.url)
  await page.say('go')
  const deltas = page.events.flatMap(({ delta, rawEvent }) => (delta === undefined ? [] : [[delta, rawEvent]]))
  expect(deltas).toEqual([
    ['first ab', undefined],
    ['c', { n: 1 }],
    ['d', { n: 1 }],
    ['e', undefined],
  ])
})

test('an answer to an earlier question is refused, and the run goes on waiting for the present one', async () => {
  const server = await startAgentServer({
    answer: (input) =>
      paced(asking(input).map((event) => JSON.parse(JSON.stringify(event).replace('i1', input.resume ? 'i2' : 'i1')))),
  })
  const page = openPage(server.url)
  await page.say('delete')
  const run = (await server.runs.active('thread')).run?.id
  const resume = [{ interruptId: 'i1', status: 'resolved' as const }]
  await page.agent.runAgent({ resume })
  expect(page.agent.pendingInterrupts).toMatchObject([{ id: 'i2' }])
  const late = { threadId: 'thread', runId: 'late', messages: [], resume }
  const verdict = await page.connection.send({ type: 'send', sessionId: 'thread', answers: run, input: late }).settled
  expect(verdict).toMatchObject({ status: 'rejected', error: { status: 409 } })
  expect((await server.runs.active('thread')).run).toMatchObject({ id: run, waitsFor: { interruptIds: ['i2'] } })
})

test('a page that connects to a run that waited and goes on reads it through to its end', async () => {
  const half = gate()
  const server = await startAgentServer({
    answer: (input) =>
      input.resume
        ? paced(saying(input, 'a', 'b'), (at) => (at === 3 ? half.opened : undefined))
        : paced(asking(input)),
  })
  const page = openPage(server.url)
  await page.say('delete')
  const running = page.agent.runAgent({ resume: [{ interruptId: 'i1', status: 'resolved' }] })
  await when(() => page.text() === 'a', 'it goes on')
  const other = openPage(server.url)
  const connecting = other.agent.connectAgent()
  await when(() => other.text() === 'a', 'it reads the second part')
  half.open()
  await Promise.all([running, connecting])
  expect([other.text(), other.agent.pendingInterrupts, other.failures]).toEqual(['ab', [], []])
  expect(other.types().filter((type) => type === 'RUN_STARTED')).toHaveLength(2)
})

test('a session that the app follows already, from the middle of the run: the agent is shown all of it', async () => {
  const half = gate()
  const server = await startAgentServer({
    answer: (input) => paced(saying(input, 'a', 'b', 'c'), (at) => (at === 3 || at === 4 ? half.opened : undefined)),
  })
  const page = openPage(server.url)
  const running = page.say('go')
  await when(() => page.text() === 'a', 'it reads')
  const other = openPage(server.url)
  other.connection.watch('thread', { after: 'head' })
  await when(() => other.connection.cursor('thread')?.lastSeq, 'it follows')
  const connecting = other.agent.connectAgent()
  await when(() => other.text() === 'a', 'it reads from the first event')
  half.open()
  await Promise.all([running, connecting])
  expect([other.text(), other.failures]).toEqual(['abc', []])
})

test('the app rewinds the session in the middle of a run: the agent is told each event once', async () => {
  const half = gate()
  const server = await startAgentServer({
    answer: (input) => paced(saying(input, 'a', 'b', 'c'), (at) => (at === 3 ? half.opened : undefined)),
  })
  const page = openPage(server.url)
  const running = page.say('go')
  await when(() => page.text() === 'a', 'it reads')
  let starts = 0
  page.connection.on('message', ({ type }) => {
    if (type === 'run.started') starts += 1
  })
  page.connection.unwatch('thread')
  page.connection.watch('thread', { after: 0 })
  await when(() => starts === 1, 'it comes again')
  half.open()
  await running
  expect([page.text(), page.last()?.type, page.failures]).toEqual(['abc', 'RUN_FINISHED', []])
})

test('who may write a thread and not read it is told so, and does not wait for ever', async () => {
  const server = await startAgentServer({
    authorize: (_, __, action) => action === 'write',
    answer: (input) => paced(saying(input, 'a')),
  })
  const page = openPage(server.url)
  await page.say('go')
  expect(page.last()).toMatchObject({ type: 'RUN_ERROR' })
})

test('a run that goes on and fails before its first event ends as RUN_ERROR', async () => {
  const server = await startAgentServer({
    answer: (input) => {
      if (input.resume) throw new Error('no')
      return paced(asking(input))
    },
  })
  const page = openPage(server.url)
  await page.say('delete')
  await page.agent.runAgent({ resume: [{ interruptId: 'i1', status: 'resolved' }] })
  expect([page.last(), page.failures]).toMatchObject([{ type: 'RUN_ERROR', code: 'run-failed' }, []])
})

test('an agent that may read and not write follows from the next run on', async () => {
  let mayWrite = false
  const server = await startAgentServer({
    authorize: (_, __, action) => action === 'read' || mayWrite,
    answer: (input) => paced(saying(input, 'a')),
  })
  const reader = openPage(server.url, { follows: true })
  await when(() => reader.connection.cursor('thread')?.lastSeq === 0, 'it follows')
  await reader.agent.connectAgent()
  mayWrite = true
  await openPage(server.url).say('go')
  await when(() => reader.text() === 'a', 'it has the answer')
  expect([reader.last()?.type, reader.failures]).toEqual(['RUN_FINISHED', []])
})

test('an answer to a run that has ended begins no other one: it is refused', async () => {
  const server = await approving()
  const page = openPage(server.url)
  await page.say('delete')
  await when(() => page.connection.cursors.length === 0, 'the thread is left')
  openPage(server.url).agent.stop()
  await expect.poll(async () => (await server.runs.active('thread')).run).toBeNull()
  await page.agent.runAgent({ resume: [{ interruptId: 'i1', status: 'resolved', payload: 'yes' }] })
  expect([server.inputs.length, page.last()]).toMatchObject([1, { type: 'RUN_ERROR', code: 'http-409' }])
})

test.each([
  ['stopped', [], ['AbortError']],
  ['failed', ['RUN_ERROR run-failed'], []],
  ['interrupted', ['RUN_ERROR run-interrupted'], []],
])(
  'a run that ends before its first event ends so, even where the receipt comes later: %s',
  async (reason, told, failed) => {
    const heard = gate()
    const { url, publish } = await startScripted('thread', async () => {
      await publish({ type: 'run.started', run: 'r' }, { type: 'run.ended', run: 'r', reason })
      await heard.opened
      return { run: 'r', state: 'running', after: 0, head: 2, epoch: '' }
    })
    const page = openPage(url)
    page.connection.watch('thread')
    const running = page.say('go')
    await when(() => page.connection.cursor('thread')?.lastSeq === 2, 'all has come')
    heard.open()
    await running
    expect(page.events.map(({ type, code }) => `${type} ${code}`)).toEqual(told)
    expect(page.failures.map(({ name }) => name)).toEqual(failed)
  },
)

test('a connectAgent that is given up while the server is asked leaves the session', async () => {
  const asked = gate()
  const { url } = await startScripted('thread', async () => {
    await asked.opened
    return { run: 'r', state: 'running', after: 0, head: 0, epoch: '' }
  })
  const page = openPage(url)
  const settled = new Promise((resolve) =>
    page.connection.on('delivery', ({ status }) => status === 'accepted' && resolve(0)),
  )
  const connecting = page.agent.connectAgent()
  await when(() => page.connection.pending[0]?.attempts, 'it is asked')
  await page.agent.detachActiveRun()
  await connecting
  asked.open()
  await settled
  await when(() => page.connection.cursors.length === 0, 'it is left')
})
