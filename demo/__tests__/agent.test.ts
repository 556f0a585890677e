import type { CommandCall } from 'holdline/server'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Agent } from '../agent'
import type { AgentEvent } from '../events'
import { apply, EMPTY, type Turn } from '../page/transcript'
import { scriptFor, tokensOf } from '../script'

const TOOL_MS = 10_000
let events: AgentEvent[]
let agent: Agent

beforeEach(() => {
  vi.useFakeTimers()
  events = []
  const publish = async (_: string, event: AgentEvent) => events.push(event)
  agent = new Agent({ publish, tokensPerSecond: 40, toolMs: TOOL_MS })
})
afterEach(() => {
  agent.close()
  vi.useRealTimers()
})

function command(type: string, message: object, idempotencyKey?: string) {
  const call: CommandCall = {
    principal: { id: 'p' },
    connectionId: 'c',
    sessionId: 's',
    type,
    message: { type, sessionId: 's', ...message },
    idempotencyKey,
    publish: () => Promise.reject(new Error('the agent publishes by itself')),
  }
  return agent.handle(call)
}
const send = (prompt: unknown, turnId: string) => command('send', { prompt }, turnId)

const turns = (): readonly Turn[] => events.reduce(apply, EMPTY).turns
const textOf = (turn: Turn | undefined) =>
  turn?.blocks.map((block) => (block.kind === 'text' ? block.text : block.result)).join('|')
const scriptText = (prompt: string) =>
  scriptFor(prompt)
    .map((step) => (step.kind === 'text' ? step.text : step.result))
    .join('|')
const ended = (turnId: string) => () =>
  expect(events).toContainEqual(expect.objectContaining({ type: 'answer.ended', turnId }))
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

test.each([['hello'], ['use a tool'], ['a long story']])(
  'the tokens of "%s" are its script, word by word',
  async (prompt) => {
    await send(prompt, 't1')
    await pass(60_000)
    ended('t1')()
    expect(textOf(turns()[0])).toBe(scriptText(prompt))
    expect(events.filter(({ type }) => type === 'token')).toHaveLength(
      scriptFor(prompt).flatMap((step) => (step.kind === 'text' ? tokensOf(step.text) : [])).length,
    )
  },
)

test('tokens come at the promised speed', async () => {
  await send('hello', 't1')
  await pass(1_000)
  const tokens = events.filter(({ type }) => type === 'token').length
  expect(tokens).toBeGreaterThanOrEqual(39)
  expect(tokens).toBeLessThanOrEqual(41)
})

test('a tool is announced, reports what it does, and ends after its time', async () => {
  await send('use a tool', 't1')
  await pass(60_000)
  const start = events.find((event) => event.type === 'tool.started')
  const end = events.find((event) => event.type === 'tool.ended')
  expect(start).toMatchObject({ name: 'survey_harbour', expectedMs: TOOL_MS })
  expect(events.filter(({ type }) => type === 'tool.progress')).toHaveLength(4)
  expect(end).toMatchObject({ outcome: 'done', tookMs: TOOL_MS })
})

test('C111: a session that has fifty prompts to answer takes no more, and says so', async () => {
  for (let n = 0; n < 50; n += 1) await send('short', `t${n}`)
  await expect(send('short', 't50')).rejects.toMatchObject({ status: 409, code: 'busy' })
  expect(events.filter(({ type }) => type === 'prompt')).toHaveLength(50)
})

test('prompts are echoed at once and answered one after the other', async () => {
  await send('first', 't1')
  await send('second', 't2')
  expect(turns().map(({ prompt }) => prompt)).toEqual(['first', 'second'])
  await pass(500)
  expect(turns().map(({ status }) => status)).toEqual(['answering', 'waiting'])
  await pass(60_000)
  expect(turns().map(({ status }) => status)).toEqual(['done', 'done'])
})

test('stop ends the turn that it names, in the middle of a tool too; the next one goes on', async () => {
  await send('use a tool', 't1')
  await send('second', 't2')
  await pass(5_000)
  expect(await command('stop', { turnId: 't1' })).toEqual({ stopped: 1 })
  await pass(60_000)
  expect(turns().map(({ status }) => status)).toEqual(['stopped', 'done'])
  expect(turns()[0]?.blocks[1]).toMatchObject({ kind: 'tool', status: 'stopped' })
})

test('a stop that arrives after the answer stops nothing', async () => {
  await send('first', 't1')
  await pass(60_000)
  expect(await command('stop', { turnId: 't1' })).toEqual({ stopped: 0 })
})

test('interrupt ends whatever is being answered', async () => {
  await send('first', 't1')
  await pass(500)
  expect(await command('interrupt', {})).toEqual({ stopped: 1 })
  await pass(100)
  expect(turns()[0]?.status).toBe('stopped')
})

test.each([[undefined], [7], ['  ']])('the prompt %j is rejected for good', async (prompt) => {
  await expect(send(prompt, 't1')).rejects.toMatchObject({ status: 400, code: 'empty-prompt' })
  expect(events).toEqual([])
})

test('a closed agent says nothing more', async () => {
  await send('hello', 't1')
  await pass(200)
  agent.close()
  const said = events.length
  await pass(60_000)
  expect(events).toHaveLength(said)
})
