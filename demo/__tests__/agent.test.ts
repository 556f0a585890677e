import { type ChatServer, type CommandCall, createChatServer, memoryLog, type SessionLog } from 'holdline/server'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Agent } from '../agent'
import { Book } from '../book'
import type { AgentEvent } from '../events'
import { apply, EMPTY, type Turn } from '../page/transcript'
import { scriptFor, tokensOf } from '../script'

const TOOL_MS = 10_000
/** Of the real event loop: names of runs are hashed beside the clock. */
const turnOfLoop = () => new Promise((resolve) => realImmediate(resolve))
const realImmediate = setImmediate

let log: SessionLog
let server: ChatServer
let agent: Agent

beforeEach(() => {
  vi.useFakeTimers()
  log = memoryLog()
  server = createChatServer({ log, authenticate: () => null, authorize: () => false, onCommand: () => null })
  agent = new Agent({ server, tokensPerSecond: 40, toolMs: TOOL_MS, onPrompt: new Book().receive })
})
afterEach(async () => {
  agent.close()
  await server.close()
  vi.useRealTimers()
})

const CALL: CommandCall = {
  principal: { id: 'p' },
  connectionId: 'c',
  sessionId: 's',
  type: 'send',
  message: {},
  idempotencyKey: 'k',
  publish: () => Promise.reject(new Error('the agent publishes by itself')),
}
const command = (type: string, message: object, idempotencyKey: string = crypto.randomUUID()) =>
  agent.handle({ ...CALL, type, message: { type, sessionId: 's', ...message }, idempotencyKey })
const send = (prompt: unknown, turnId: string, rest: object = {}) => command('send', { prompt, ...rest }, turnId)

const events = async () => (await log.read('s', 0, 10_000)).map(({ event }) => event as unknown as AgentEvent)
const ofType = async <Type extends AgentEvent['type']>(type: Type) =>
  (await events()).filter((event): event is Extract<AgentEvent, { type: Type }> => event.type === type)
const turns = async (): Promise<readonly Turn[]> => (await events()).reduce(apply, EMPTY).turns
const statuses = async () => (await turns()).map(({ status }) => status)
const textOf = (turn: Turn | undefined) =>
  turn?.blocks.map((block) => (block.kind === 'text' ? block.text : block.result)).join('|')
const scriptText = (prompt: string) =>
  scriptFor(prompt)
    .map((step) => (step.kind === 'text' ? step.text : step.result))
    .join('|')

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

/** Lets time pass until it is so. */
async function until(isSo: () => Promise<boolean>) {
  for (let n = 0; n < 2_000; n += 1) {
    if (await isSo()) return
    await pass(50)
    await turnOfLoop()
  }
  throw new Error('it does not come to that')
}
const ended = (count: number) => until(async () => (await ofType('run.ended')).length === count)
const started = (count: number) => until(async () => (await ofType('answer.started')).length === count)

test.each([['hello'], ['use a tool'], ['a long story']])(
  'the tokens of "%s" are its script, word by word, and numbered',
  async (prompt) => {
    await send(prompt, 't1')
    await ended(1)
    expect(textOf((await turns())[0])).toBe(scriptText(prompt))
    expect(await statuses()).toEqual(['done'])
    const tokens = await ofType('token')
    const script = scriptFor(prompt).flatMap((step) => (step.kind === 'text' ? tokensOf(step.text) : []))
    expect(tokens.map(({ n, text }) => [n, text])).toEqual(script.map((text, n) => [n, text]))
  },
)

test('tokens come at the promised speed', async () => {
  await send('hello', 't1')
  await started(1)
  const before = (await ofType('token')).length
  await pass(1_000)
  const tokens = (await ofType('token')).length - before
  expect(tokens).toBeGreaterThanOrEqual(39)
  expect(tokens).toBeLessThanOrEqual(41)
})

test('a tool is announced, reports what it does, and ends after its time', async () => {
  await send('use a tool', 't1')
  await ended(1)
  expect((await ofType('tool.started'))[0]).toMatchObject({ name: 'survey_harbour', expectedMs: TOOL_MS })
  expect(await ofType('tool.progress')).toHaveLength(4)
  expect((await ofType('tool.ended'))[0]).toMatchObject({ tookMs: TOOL_MS })
})

test('C111: a session that has fifty prompts to answer takes no more, and says so', async () => {
  for (let n = 0; n < 50; n += 1) await send('short', `t${n}`)
  await expect(send('short', 't50')).rejects.toMatchObject({ status: 409, code: 'busy' })
  expect(await ofType('prompt')).toHaveLength(50)
})

test('prompts are echoed at once and answered one after the other', async () => {
  await send('first', 't1')
  await send('second', 't2')
  expect((await turns()).map(({ prompt }) => prompt)).toEqual(['first', 'second'])
  await started(1)
  expect(await statuses()).toEqual(['answering', 'waiting'])
  await ended(2)
  expect(await statuses()).toEqual(['done', 'done'])
})

test('a prompt is told with the number that its page gave it, how many have come, and where it stands', async () => {
  const receipts = [
    await send('short', 't1', { page: 'one', number: 0 }),
    await send('short', 't2', { page: 'two', number: 0 }),
    await send('short', 't3', { page: 'one', number: 7 }),
  ]
  const told = await ofType('prompt')
  expect(told.map(({ page, number, received }) => [page, number, received])).toEqual([
    ['one', 0, 1],
    ['two', 0, 1],
    ['one', 7, 2],
  ])
  const { epoch, head } = await server.head('s')
  expect(receipts[0]).toEqual({ turnId: 't1', seq: 1, epoch })
  expect(head).toBeGreaterThanOrEqual(3)
})

test.each([[{ page: 7, number: 0 }], [{ page: 'one', number: '0' }], [{ page: 'a b', number: 0 }], [{ number: 1 }]])(
  'a prompt that is not numbered (%j) is answered as well',
  async (rest) => {
    await send('short', 't1', rest)
    expect(await ofType('prompt')).toEqual([{ type: 'prompt', turnId: 't1', text: 'short' }])
    await ended(1)
  },
)

test('stop ends the turn that it names, in the middle of a tool too; the next one goes on', async () => {
  await send('use a tool', 't1')
  await send('second', 't2')
  await until(async () => (await ofType('tool.started')).length === 1)
  expect(await command('stop', { turnId: 't1' })).toEqual({ stopped: 1 })
  await ended(2)
  expect(await statuses()).toEqual(['stopped', 'done'])
  expect((await turns())[0]?.blocks[1]).toMatchObject({ kind: 'tool', status: 'stopped' })
})

test('stop ends a turn that waits, too: it is never answered', async () => {
  for (const name of ['first', 'second', 'third']) await send(name, name)
  expect(await command('stop', { turnId: 'second' })).toEqual({ stopped: 1 })
  expect(await statuses()).toContain('stopped')
  await ended(2)
  expect(await statuses()).toEqual(['done', 'stopped', 'done'])
})

test('a stop that arrives after the answer stops nothing', async () => {
  await send('first', 't1')
  await ended(1)
  expect(await command('stop', { turnId: 't1' })).toEqual({ stopped: 0 })
})

test('interrupt ends whatever is being answered', async () => {
  await send('first', 't1')
  await started(1)
  expect(await command('interrupt', {})).toEqual({ stopped: 1 })
  expect(await statuses()).toEqual(['stopped'])
})

test.each([[undefined], [7], ['  ']])('the prompt %j is rejected for good', async (prompt) => {
  await expect(send(prompt, 't1')).rejects.toMatchObject({ status: 400, code: 'empty-prompt' })
  expect(await events()).toEqual([])
})

test('an answer that cannot begin is told as failed, and the next one goes on', async () => {
  const told = vi.spyOn(console, 'error').mockImplementation(() => {})
  // A bigint cannot be hashed as JSON, so the start of its run is rejected.
  const bad = { ...CALL, message: { type: 'send', sessionId: 's', prompt: 'short' }, principal: { id: 7n as never } }
  await agent.handle({ ...bad, idempotencyKey: 't1' })
  await send('short', 't2')
  await ended(1)
  expect(await statuses()).toEqual(['failed', 'done'])
  expect(told).toHaveBeenCalledOnce()
})

test('a closed agent says nothing more', async () => {
  await send('hello', 't1')
  await started(1)
  agent.close()
  const said = (await ofType('token')).length
  await pass(60_000)
  await turnOfLoop()
  expect(await ofType('token')).toHaveLength(said)
})
