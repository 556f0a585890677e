import { type BaseEvent, type RunAgentInput, verifyEvents } from '@ag-ui/client'
import { persist } from 'holdline/storage'
import { describe, expect, test } from 'vitest'
import { memoryLog, type SessionLog } from '../../server'
import { cutters } from '../support/cutter'
import { describeWithRedis } from '../support/redis'
import { redisLogs } from '../support/redisLogs'
import { createStorage } from '../support/storage'
import {
  type AgentServerSetup,
  type Answer,
  gate,
  openPage,
  type PageSetup,
  type Plain,
  paced,
  saying,
  startAgentServer,
  when,
  words,
} from './agentWorld'

// Each story of scenarios.test.ts with its sockets cut at seeded moments: between the events of a
// run, before a POST arrives, and before its answer is read. The truth at the end is that of a line
// that never drops.

const SEEDS = [1, 2]

describe('an AG-UI agent on a line that is cut, the log in memory', () => {
  describe.each(SEEDS)('(seed %i)', (seed) => stories(() => memoryLog(), seed))
})

describeWithRedis('an AG-UI agent on a line that is cut, the log in Redis', () => {
  const createLog = redisLogs()
  describe.each(SEEDS)('(seed %i)', (seed) => stories(createLog, seed))
})

function stories(createLog: () => SessionLog, seed: number) {
  const cutter = cutters(seed)

  const start = async (answer: Answer, settings: AgentServerSetup = {}) => {
    const server = await startAgentServer({ log: createLog(), answer, ...settings })
    cutter().cuts(server)
    const open = ({ line, ...setup }: PageSetup = {}) =>
      openPage(server.url, { ...setup, line: { fetch: cutter().fetch, ...line } })
    return { server, open }
  }
  /** An answer that stops after its first delta until the test goes on. */
  const held = (events: readonly Plain[], opened: Promise<void>) =>
    paced(events, async (at) => {
      await cutter().shake()
      if (at === 3) await opened
    })
  const never = gate().opened

  test('a run has the events of a line that never drops, and its agent was asked once', async () => {
    const deltas = words(40)
    const { server, open } = await start((input) => paced(saying(input, ...deltas), cutter().shake))
    const page = open()
    await page.say('go')
    expect(page.texts()).toEqual(['user:go', `assistant:${deltas.join('')}`])
    expect(page.types().filter((type) => type !== 'TEXT_MESSAGE_CONTENT')).toEqual([
      'RUN_STARTED',
      'TEXT_MESSAGE_START',
      'TEXT_MESSAGE_END',
      'RUN_FINISHED',
    ])
    expect([server.inputs.length, page.failures]).toEqual([1, []])
  })

  test('a stop ends the run for everybody as cancelled, and the producer is told', async () => {
    let told = false
    const { server, open } = await start((input, { signal }) => {
      signal.addEventListener('abort', () => {
        told = true
      })
      return held(saying(input, 'a', 'b'), never)
    })
    const [page, other] = [open(), open({ follows: true })]
    const running = page.say('go')
    await when(() => page.text() === 'a' && other.text() === 'a', 'both read')
    page.agent.abortRun()
    await running
    await when(() => told && !other.agent.isRunning, 'all ended')
    for (const { text, last, failures } of [page, other])
      expect([text(), last(), failures]).toMatchObject([
        'a',
        { type: 'RUN_FINISHED', outcome: { type: 'cancelled' } },
        [],
      ])
    expect((await server.runs.active('thread')).run).toBeNull()
  })

  test('a stop from another page ends the run here', async () => {
    const { open } = await start((input) => held(saying(input, 'a', 'b'), never))
    const [page, other] = [open(), open()]
    const running = page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    other.agent.stop()
    await running
    expect([page.last(), page.failures]).toMatchObject([{ type: 'RUN_FINISHED', outcome: { type: 'cancelled' } }, []])
  })

  test('a stop while offline ends the run when the line is back', async () => {
    const { server, open } = await start((input) => held(saying(input, 'a', 'b'), never))
    const page = open()
    const running = page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    page.connection.disconnect()
    const delivery = page.agent.stop()
    await running
    expect([page.agent.isRunning, delivery.status]).toEqual([false, 'queued'])
    page.connection.connect()
    expect((await delivery.settled).status).toBe('accepted')
    expect((await server.runs.active('thread')).run).toBeNull()
  })

  test('an input that is stopped before it was posted is never posted', async () => {
    const { server, open } = await start((input) => paced(saying(input, 'a'), cutter().shake))
    const page = open({ isOffline: true })
    const running = page.say('go')
    await when(() => page.connection.pending.length === 1, 'it waits')
    page.agent.abortRun()
    await running
    page.connection.connect()
    await when(() => page.connection.isOpen && page.connection.pending.length === 0, 'the line is through')
    expect([page.types(), server.inputs]).toEqual([[], []])
  })

  test('a second page follows: the prompt, and the answer from its begin; one that comes in the middle too', async () => {
    const half = gate()
    const { open } = await start((input) => held(saying(input, 'a', 'b', 'c'), half.opened))
    const [page, early] = [open(), open({ follows: true })]
    await when(() => early.connection.isOpen, 'open')
    const running = page.say('go')
    await when(() => early.text() === 'a', 'it follows')
    const late = open({ follows: true })
    await when(() => late.text() === 'a', 'it follows too')
    half.open()
    await running
    for (const other of [early, late]) {
      await when(() => other.text() === 'abc' && !other.agent.isRunning, 'its end')
      expect([other.agent.messages, other.failures]).toEqual([page.agent.messages, []])
    }
  })

  test('a page that is reloaded in the middle: connectAgent shows its history, and the run from its first event', async () => {
    const half = gate()
    const { open } = await start((input) => held(saying(input, 'a', 'b', 'c'), half.opened))
    const page = open()
    void page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    const stored = [{ id: 'm0', role: 'assistant' as const, content: 'hello' }, ...structuredClone(page.agent.messages)]
    page.close()
    const reloaded = open({ history: async () => ({ messages: stored }) })
    const connecting = reloaded.agent.connectAgent()
    await when(() => reloaded.text() === 'a', 'it reads again')
    half.open()
    await connecting
    expect(reloaded.texts()).toEqual(['assistant:hello', 'user:go', 'assistant:abc'])
    expect(reloaded.failures).toEqual([])
  })

  test('connect gives a page that comes in the middle events that pass verifyEvents, each once', async () => {
    const half = gate()
    const deltas = ['a', ...words(20)]
    const { open } = await start((input) => held(saying(input, ...deltas), half.opened))
    const page = open()
    const running = page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    const seen: (BaseEvent & { readonly delta?: string })[] = []
    const input: RunAgentInput = {
      threadId: 'thread',
      runId: 'r',
      messages: [],
      tools: [],
      context: [],
      state: {},
      forwardedProps: {},
    }
    const whole = new Promise<void>((resolve, reject) => {
      open()
        .agent.connect(input)
        .pipe(verifyEvents())
        .subscribe({ next: (event) => void seen.push(event), error: reject, complete: resolve })
    })
    await when(() => seen.length > 2, 'it reads')
    half.open()
    await Promise.all([running, whole])
    expect(seen.map(({ delta = '' }) => delta).join('')).toBe(deltas.join(''))
    expect(seen.at(-1)?.type).toBe('RUN_FINISHED')
  })

  test('connectAgent on a thread at rest shows its history', async () => {
    const { open } = await start((input) => paced(saying(input, 'a'), cutter().shake))
    const page = open()
    await page.say('go')
    const reloaded = open({ history: () => ({ messages: structuredClone(page.agent.messages) }) })
    await reloaded.agent.connectAgent()
    expect([reloaded.texts(), reloaded.failures]).toEqual([['user:go', 'assistant:a'], []])
  })

  test('a detach leaves the run alone, and connectAgent shows it from its first event, without doubling what was there', async () => {
    const half = gate()
    const { server, open } = await start((input) => held(saying(input, 'a', 'b', 'c'), half.opened))
    const page = open()
    const running = page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    await page.agent.detachActiveRun()
    await running
    expect((await server.runs.active('thread')).run?.state).toBe('running')
    const connecting = page.agent.connectAgent()
    const begins = () => page.types().filter((type) => type === 'TEXT_MESSAGE_CONTENT').length
    await when(() => begins() > 1, 'it reads again')
    half.open()
    await connecting
    expect([page.texts(), page.failures]).toEqual([['user:go', 'assistant:abc'], []])
  })

  test('an offline input and a reload are one run', async () => {
    const storage = persist(createStorage(), { key: 'page' })
    const { server, open } = await start((input) => paced(saying(input, 'a', 'b'), cutter().shake))
    const offline = open({ isOffline: true, line: { storage } })
    void offline.say('go')
    await when(() => offline.connection.pending.length === 1, 'it waits')
    offline.close()
    const reloaded = open({ follows: true, line: { storage } })
    await when(() => reloaded.text() === 'ab' && !reloaded.agent.isRunning, 'its answer')
    expect([reloaded.texts(), server.inputs.length]).toEqual([['user:go', 'assistant:ab'], 1])
  })

  test.each([
    ['reject', ['to one: done', 'two'], ['RUN_FINISHED', 'RUN_ERROR']],
    ['queue', ['to one: done', 'to two: done'], ['RUN_FINISHED', 'RUN_FINISHED']],
    ['interrupt', ['to one: ', 'to two: done'], ['RUN_FINISHED', 'RUN_FINISHED']],
  ] as const)('two inputs at once, %s', async (onBusy, texts, ends) => {
    const half = gate()
    const { server, open } = await start(
      (input) => {
        const said = String(input.messages.at(-1)?.content)
        return held(saying(input, `to ${said}: `, 'done'), said === 'one' ? half.opened : Promise.resolve())
      },
      { onBusy },
    )
    const [first, second] = [open(), open()]
    const one = first.say('one')
    await when(() => first.text() === 'to one: ', 'it reads')
    const two = second.say('two')
    if (onBusy === 'queue') await expect.poll(async () => (await server.runs.active('thread')).queued).toHaveLength(1)
    else await two
    half.open()
    await Promise.all([one, two])
    expect([first, second].map(({ agent }) => agent.messages.at(-1)?.content)).toEqual(texts)
    expect([first, second].map(({ last }) => last()?.type)).toEqual(ends)
    expect(server.inputs).toHaveLength(onBusy === 'reject' ? 1 : 2)
  })

  test('a producer that throws is a RUN_ERROR, what came stays, and the next input is answered', async () => {
    const { server, open } = await start((input) => {
      const isFirst = server.inputs.length === 1
      return paced(saying(input, 'a', 'b'), async (at) => {
        await cutter().shake()
        if (isFirst && at === 3) throw new Error('secret')
      })
    })
    const page = open()
    await page.say('go')
    expect([page.text(), page.last()]).toMatchObject(['a', { type: 'RUN_ERROR', code: 'run-failed' }])
    await page.say('again')
    expect([page.text(), page.failures]).toEqual(['ab', []])
  })

  test('reasoning, tools, state and custom events are as they were said', async () => {
    const events = ({ threadId, runId }: RunAgentInput): readonly Plain[] => [
      { type: 'RUN_STARTED', threadId, runId },
      { type: 'STATE_SNAPSHOT', snapshot: { list: [] } },
      { type: 'REASONING_START', messageId: 'r' },
      { type: 'REASONING_MESSAGE_START', messageId: 'r', role: 'reasoning' },
      { type: 'REASONING_MESSAGE_CONTENT', messageId: 'r', delta: 'hm' },
      { type: 'REASONING_MESSAGE_END', messageId: 'r' },
      { type: 'REASONING_END', messageId: 'r' },
      { type: 'TOOL_CALL_START', toolCallId: 'c1', toolCallName: 'weather' },
      { type: 'TOOL_CALL_ARGS', toolCallId: 'c1', delta: '{"city":"Bonn"}' },
      { type: 'TOOL_CALL_END', toolCallId: 'c1' },
      { type: 'TOOL_CALL_RESULT', messageId: 'm2', toolCallId: 'c1', content: '21 °C 🌤', role: 'tool' },
      { type: 'STATE_DELTA', delta: [{ op: 'add', path: '/list/-', value: 'x' }] },
      { type: 'CUSTOM', name: 'card', value: { n: 1 } },
      ...saying({ threadId, runId } as RunAgentInput, 'done').slice(1),
    ]
    let said: readonly Plain[] = []
    const { open } = await start((input) => {
      said = events(input)
      return paced(said, cutter().shake)
    })
    const [page, other] = [open(), open({ follows: true })]
    await when(() => other.connection.cursors.length === 1, 'it follows')
    await page.say('go')
    await when(() => other.text() === 'done' && !other.agent.isRunning, 'the other has it')
    for (const { types, agent, failures } of [page, other]) {
      expect(types()).toEqual(said.map(({ type }) => type))
      expect([agent.state, failures]).toEqual([{ list: ['x'] }, []])
      expect(agent.messages).toContainEqual(expect.objectContaining({ role: 'tool', content: '21 °C 🌤' }))
    }
    expect(other.agent.messages).toEqual(page.agent.messages)
  })

  test("a tool of the client's: its result goes on with the same run, also for a follower", async () => {
    const { server, open } = await start((input) => {
      const { threadId, runId } = input
      const last = input.messages.at(-1)
      if (last?.role === 'tool') return paced(saying(input, 'You are ', 'in ', `${last.content}.`), cutter().shake)
      return paced(
        [
          { type: 'RUN_STARTED', threadId, runId },
          { type: 'TOOL_CALL_START', toolCallId: 'c1', toolCallName: 'place' },
          { type: 'TOOL_CALL_ARGS', toolCallId: 'c1', delta: '{}' },
          { type: 'TOOL_CALL_END', toolCallId: 'c1' },
          { type: 'RUN_FINISHED', threadId, runId },
        ],
        cutter().shake,
      )
    })
    const [page, other] = [open(), open({ follows: true })]
    await when(() => other.connection.cursors.length === 1, 'it follows')
    const tools = [{ name: 'place', description: 'where', parameters: { type: 'object', properties: {} } }]
    page.agent.addMessage({ id: 'm1', role: 'user', content: 'where am I?' })
    await page.agent.runAgent({ tools })
    const { run } = await server.runs.active('thread')
    expect(run?.state).toBe('suspended')
    page.agent.addMessage({ id: 'm2', role: 'tool', toolCallId: 'c1', content: 'Bonn' })
    await page.agent.runAgent({ tools })
    await when(() => other.text() === 'You are in Bonn.' && !other.agent.isRunning, 'the other has it')
    expect([page.text(), other.agent.messages]).toEqual(['You are in Bonn.', page.agent.messages])
    expect([page.failures, other.failures, server.inputs.length]).toEqual([[], [], 2])
    expect((await server.runs.active('thread')).run).toBeNull()
  })

  test('an interrupt that another page answers goes on with the same run', async () => {
    const interrupts = [{ id: 'i1', reason: 'approval', message: 'Delete 3 files?' }]
    const { server, open } = await start((input) => {
      const { threadId, runId } = input
      return paced(
        input.resume
          ? saying(input, 'De', 'leted.')
          : [
              { type: 'RUN_STARTED', threadId, runId },
              { type: 'RUN_FINISHED', threadId, runId, outcome: { type: 'interrupt', interrupts } },
            ],
        cutter().shake,
      )
    })
    const page = open()
    await page.say('delete')
    const other = open()
    await other.agent.connectAgent()
    expect(other.agent.pendingInterrupts).toEqual(interrupts)
    await other.agent.runAgent({ resume: [{ interruptId: 'i1', status: 'resolved', payload: 'yes' }] })
    expect([other.text(), other.last()?.type, other.failures]).toEqual(['Deleted.', 'RUN_FINISHED', []])
    expect(server.inputs).toHaveLength(2)
  })
}
