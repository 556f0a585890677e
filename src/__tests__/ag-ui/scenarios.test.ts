import { type BaseEvent, verifyEvents } from '@ag-ui/client'
import { persist } from 'holdline/storage'
import { describe, expect, test } from 'vitest'
import { memoryLog, type SessionLog } from '../../server'
import { seededRandom } from '../../testing/harness/random'
import { describeWithRedis } from '../support/redis'
import { redisLogs } from '../support/redisLogs'
import { createStorage } from '../support/storage'
import { gate, openPage, paced, saying, startAgentServer, when, words } from './agentWorld'

// The stories of ../ai-sdk/scenarios.test.ts, as AG-UI has them: sockets that die (1, 2), a stop
// (3), also before the input was posted (5), a second page (6), a reload with `connectAgent` (7),
// an offline input (8), a detach and `connectAgent` (9, 10), `onAbort` (11); the further ones: a
// stop from another page, a refused start, a producer that throws. Elsewhere:
// - each of them with its sockets cut at seeded moments, the stop while offline (4) and two inputs
//   at once under each `onBusy`: cuts.test.ts;
// - processes that are killed or restarted: death.test.ts; a log that is lost: parts.test.ts;
// - 200 agents at once, 20,000 deltas: crowd.test.ts;
// - tools, reasoning, state, interrupts: parts.test.ts.

// `runAgent` and `connectAgent` put every event through AG-UI's own enforceEvents, verifyEvents and
// defaultApplyEvents: one that is doubled, lost or out of order is a failure of the run.

describe('an AG-UI agent over real HTTP, the log in memory', () => {
  scenarios(() => memoryLog())
})

describeWithRedis('an AG-UI agent over real HTTP, the log in Redis', () => {
  const createLog = redisLogs()
  scenarios(createLog)

  test('the process that answers dies: within two leases the run ends as RUN_ERROR, what came stays, and another process answers again', async () => {
    const log = createLog()
    const [doomed, other] = await Promise.all([
      startAgentServer({
        log,
        lease: 1_000,
        answer: (input) => paced(saying(input, 'a', 'b'), (at) => (at === 3 ? gate().opened : undefined)),
      }),
      startAgentServer({ log: createLog(), lease: 1_000, answer: (input) => paced(saying(input, 'c')) }),
    ])
    let url = doomed.url
    const page = openPage(url, {
      line: { fetch: (input, init) => fetch(String(input).replace(doomed.url, url), init) },
    })
    const running = page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    // As far as the others see: it says nothing any more.
    log.close()
    url = other.url
    doomed.destroySockets()
    await doomed.close()
    await running
    expect([page.text(), page.last()]).toMatchObject(['a', { type: 'RUN_ERROR', code: 'run-interrupted' }])

    // A page that is loaded now is told too, once, after what its store has.
    const messages = structuredClone(page.agent.messages.slice(0, 1))
    for (const follows of [true, false]) {
      const loaded = openPage(url, { follows, history: () => ({ messages }) })
      if (!follows) await loaded.agent.connectAgent()
      await when(() => loaded.last()?.type === 'RUN_ERROR' && !loaded.agent.isRunning, 'it is told')
      expect([loaded.last(), loaded.texts(), loaded.failures]).toMatchObject([
        { code: 'run-interrupted' },
        ['user:go'],
        [],
      ])
      await loaded.agent.connectAgent()
      expect(loaded.last()?.type).toBe('RUN_FINISHED')
    }

    await page.agent.runAgent()
    expect([page.text(), page.last()?.type, page.failures]).toEqual(['c', 'RUN_FINISHED', []])
  })
})

function scenarios(createLog: () => SessionLog) {
  test('sockets die at seeded moments in the middle of a run: its events are those of a line that never drops', async () => {
    for (const seed of [1, 2, 3]) {
      const random = seededRandom(seed)
      const deltas = words(60)
      const kills = new Set([
        4 + Math.floor(random() * 15),
        20 + Math.floor(random() * 20),
        41 + Math.floor(random() * 15),
      ])
      const server = await startAgentServer({
        log: createLog(),
        answer: (input) =>
          paced(saying(input, ...deltas), async (at) => {
            if (kills.has(at)) {
              await when(() => page.text().length > 0 && page.connection.isOpen, 'the page reads')
              server.destroySockets()
            }
            await new Promise((resolve) => setTimeout(resolve, 3 * random()))
          }),
      })
      const page = openPage(server.url, { threadId: `thread-${seed}` })
      let closed = 0
      page.connection.on('closed', () => {
        closed += 1
      })
      const { newMessages } = await page.say('go')
      expect(closed).toBeGreaterThanOrEqual(3)
      expect(newMessages.map(({ content }) => content)).toEqual([deltas.join('')])
      expect(page.types().filter((type) => type !== 'TEXT_MESSAGE_CONTENT')).toEqual([
        'RUN_STARTED',
        'TEXT_MESSAGE_START',
        'TEXT_MESSAGE_END',
        'RUN_FINISHED',
      ])
      expect([server.inputs.length, page.failures]).toEqual([1, []])
    }
  })

  test('a stop ends the run for everybody as cancelled, with all closed that was open, and the producer is told', async () => {
    let told = false
    const server = await startAgentServer({
      log: createLog(),
      answer: (input, { signal }) => {
        signal.addEventListener('abort', () => {
          told = true
        })
        return paced(saying(input, 'a', 'b'), (at) => (at === 3 ? gate().opened : undefined))
      },
    })
    const page = openPage(server.url)
    const other = openPage(server.url, { follows: true })
    const running = page.say('go')
    await when(() => page.text() === 'a' && other.text() === 'a', 'both read')
    page.agent.abortRun()
    await running
    await when(() => told && !other.agent.isRunning, 'all ended')
    for (const { text, types, last, failures } of [page, other]) {
      expect([text(), types().slice(-2), last()]).toMatchObject([
        'a',
        ['TEXT_MESSAGE_END', 'RUN_FINISHED'],
        { outcome: { type: 'cancelled' } },
      ])
      expect(failures).toEqual([])
    }
    expect((await server.runs.active('thread')).run).toBeNull()
  })

  test('a stop from another page ends the run here', async () => {
    const server = await startAgentServer({
      log: createLog(),
      answer: (input) => paced(saying(input, 'a', 'b'), (at) => (at === 3 ? gate().opened : undefined)),
    })
    const page = openPage(server.url)
    const running = page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    openPage(server.url).agent.stop()
    await running
    expect([page.last(), page.failures]).toMatchObject([{ type: 'RUN_FINISHED', outcome: { type: 'cancelled' } }, []])
  })

  test('an input that is stopped before it was posted is never posted', async () => {
    const server = await startAgentServer({ log: createLog(), answer: (input) => paced(saying(input, 'a')) })
    const page = openPage(server.url, { isOffline: true })
    const running = page.say('go')
    await when(() => page.connection.pending.length === 1, 'it waits')
    page.agent.abortRun()
    await running
    expect(page.types()).toEqual([])
    page.connection.connect()
    await when(() => page.connection.isOpen && page.connection.pending.length === 0, 'the line is through')
    expect(server.inputs).toEqual([])
  })

  test('detachActiveRun leaves the run alone, and connectAgent shows it from its first event, without doubling what was there', async () => {
    const half = gate()
    const server = await startAgentServer({
      log: createLog(),
      answer: (input) =>
        paced(
          [
            ...saying(input, 'a', 'b', 'c').slice(0, 2),
            { type: 'STATE_DELTA', delta: [{ op: 'add', path: '/list/-', value: 'x' }] },
            ...saying(input, 'a', 'b', 'c').slice(2),
          ],
          (at) => (at === 4 ? half.opened : undefined),
        ),
    })
    const page = openPage(server.url, { initialState: { list: [] } })
    const running = page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    await page.agent.detachActiveRun()
    await running
    expect((await server.runs.active('thread')).run?.state).toBe('running')
    const connecting = page.agent.connectAgent()
    await when(() => page.types().lastIndexOf('TEXT_MESSAGE_CONTENT') > 3, 'it reads again')
    half.open()
    await connecting
    expect([page.texts(), page.agent.state]).toEqual([['user:go', 'assistant:abc'], { list: ['x'] }])
    expect(page.failures).toEqual([])
  })

  test("onAbort 'detach': abortRun leaves the run alone", async () => {
    const half = gate()
    const server = await startAgentServer({
      log: createLog(),
      answer: (input) => paced(saying(input, 'a', 'b'), (at) => (at === 3 ? half.opened : undefined)),
    })
    const page = openPage(server.url, { onAbort: 'detach' })
    const running = page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    page.agent.abortRun()
    await running
    expect((await server.runs.active('thread')).run?.state).toBe('running')
    half.open()
  })

  test('a second page follows: what the user said, and the answer from its begin; one that is there already too', async () => {
    const half = gate()
    const server = await startAgentServer({
      log: createLog(),
      answer: (input) => paced(saying(input, 'a', 'b', 'c'), (at) => (at === 3 ? half.opened : undefined)),
    })
    const [page, early] = [openPage(server.url), openPage(server.url, { follows: true })]
    await when(() => early.connection.isOpen, 'open')
    const running = page.say('go')
    await when(() => early.text() === 'a', 'it follows')
    const late = openPage(server.url, { follows: true })
    await when(() => late.text() === 'a', 'it follows too')
    half.open()
    await running
    for (const other of [early, late]) {
      await when(() => !other.agent.isRunning, 'its end')
      expect(other.agent.messages).toEqual(page.agent.messages)
      expect(other.failures).toEqual([])
    }
    await page.say('more')
    await when(() => early.texts().length === 4 && !early.agent.isRunning, 'the next one too')
    expect(early.agent.messages).toEqual(page.agent.messages)
  })

  test('a page that is reloaded in the middle shows its history, and the run from its first event', async () => {
    const half = gate()
    const server = await startAgentServer({
      log: createLog(),
      answer: (input) => paced(saying(input, 'a', 'b', 'c'), (at) => (at === 3 ? half.opened : undefined)),
    })
    const page = openPage(server.url)
    void page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    // The app stores as it goes, a part of the answer too.
    const stored = [{ id: 'm0', role: 'assistant' as const, content: 'hello' }, ...structuredClone(page.agent.messages)]
    page.close()
    const reloaded = openPage(server.url, { history: async () => ({ messages: stored }) })
    const connecting = reloaded.agent.connectAgent()
    await when(() => reloaded.text() === 'a', 'it reads again')
    half.open()
    await connecting
    expect(reloaded.texts()).toEqual(['assistant:hello', 'user:go', 'assistant:abc'])
    expect(reloaded.failures).toEqual([])
  })

  test('connectAgent on a thread at rest shows its history; without one it is through at once', async () => {
    const server = await startAgentServer({ log: createLog(), answer: (input) => paced(saying(input, 'a')) })
    const page = openPage(server.url)
    await page.say('go')
    const stored = structuredClone(page.agent.messages)
    const reloaded = openPage(server.url, { history: () => ({ messages: stored, state: { n: 1 } }) })
    await reloaded.agent.connectAgent()
    expect([reloaded.texts(), reloaded.agent.state]).toEqual([['user:go', 'assistant:a'], { n: 1 }])
    const empty = openPage(server.url)
    await empty.agent.connectAgent()
    expect([empty.types(), empty.failures]).toEqual([[], []])
  })

  test('an offline input and a reload are one run, and the next page shows it', async () => {
    const storage = persist(createStorage(), { key: 'page' })
    const server = await startAgentServer({ log: createLog(), answer: (input) => paced(saying(input, 'a', 'b')) })
    const offline = openPage(server.url, { isOffline: true, line: { storage } })
    void offline.say('go')
    await when(() => offline.connection.pending.length === 1, 'it waits')
    offline.close()
    const reloaded = openPage(server.url, { isOffline: true, line: { storage } })
    const connecting = reloaded.agent.connectAgent()
    reloaded.connection.connect()
    await connecting
    expect(reloaded.texts()).toEqual(['user:go', 'assistant:ab'])
    expect([server.inputs.length, reloaded.failures]).toEqual([1, []])
  })

  test('a refused start is a RUN_ERROR with its code, and the run that was there goes on', async () => {
    const half = gate()
    const server = await startAgentServer({
      log: createLog(),
      onBusy: 'reject',
      answer: (input) => paced(saying(input, 'a', 'b'), (at) => (at === 3 ? half.opened : undefined)),
    })
    const [page, other] = [openPage(server.url), openPage(server.url)]
    const running = page.say('one')
    await when(() => page.text() === 'a', 'it reads')
    await other.say('two')
    expect(other.events).toMatchObject([
      { type: 'RUN_ERROR', code: 'http-409', message: expect.stringContaining('busy') },
    ])
    half.open()
    await running
    expect([page.text(), page.last()?.type]).toEqual(['ab', 'RUN_FINISHED'])
  })

  test('the next run may be asked for as soon as the last one has told its end', async () => {
    const server = await startAgentServer({
      log: createLog(),
      onBusy: 'reject',
      // The producer has something to tidy up after its last event.
      answer: (input) =>
        paced(saying(input, 'a'), (at) => at === 5 && new Promise((resolve) => setTimeout(resolve, 60))),
    })
    const page = openPage(server.url)
    const atTheEnd: unknown[] = []
    page.agent.subscribe({
      onRunFinishedEvent: async () => void atTheEnd.push((await server.runs.active('thread')).run),
    })
    for (let turn = 0; turn < 5; turn++) await page.say(String(turn))
    expect(atTheEnd).toEqual([null, null, null, null, null])
    expect(page.types().filter((type) => type === 'RUN_ERROR')).toEqual([])
    expect(page.texts()).toHaveLength(10)
  })

  test('a producer that throws is a RUN_ERROR that keeps its secret, and the next input is answered', async () => {
    const server = await startAgentServer({
      log: createLog(),
      answer: (input) =>
        paced(saying(input, 'a', 'b'), (at) => {
          if (server.inputs.length === 1 && at === 3) throw new Error('secret')
        }),
    })
    const page = openPage(server.url)
    await page.say('go')
    expect(page.last()).toMatchObject({ type: 'RUN_ERROR', code: 'run-failed' })
    expect(JSON.stringify(page.events)).not.toContain('secret')
    await page.say('again')
    expect([page.text(), page.failures]).toEqual(['ab', []])
  })

  test('an agent of its own for the raw events: they pass verifyEvents in whatever moment it subscribes', async () => {
    const half = gate()
    const server = await startAgentServer({
      log: createLog(),
      answer: (input) => paced(saying(input, 'a', 'b'), (at) => (at === 3 ? half.opened : undefined)),
    })
    const page = openPage(server.url)
    const running = page.say('go')
    await when(() => page.text() === 'a', 'it reads')
    const other = openPage(server.url)
    const seen: BaseEvent[] = []
    const input = {
      threadId: 'thread',
      runId: 'r',
      messages: [],
      tools: [],
      context: [],
      state: {},
      forwardedProps: {},
    }
    const whole = new Promise<void>((resolve, reject) => {
      other.agent
        .connect(input)
        .pipe(verifyEvents())
        .subscribe({ next: (event) => void seen.push(event), error: reject, complete: resolve })
    })
    await when(() => seen.length > 2, 'it reads')
    half.open()
    await Promise.all([running, whole])
    expect(seen.at(-1)?.type).toBe('RUN_FINISHED')
  })
}
