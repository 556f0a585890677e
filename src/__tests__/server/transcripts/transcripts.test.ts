import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { defineProtocol } from '../../../protocol/define'
import { createChatServer, memoryLog, type SessionLog } from '../../../server'
import { createRuns } from '../../../server/runs'
import { createTranscripts, memoryStore, type TranscriptStore } from '../../../server/transcripts'
import { describeWithRedis } from '../../support/redis'
import { redisLogs } from '../../support/redisLogs'
import { createTestServer, fakeClock } from '../../support/server'
import { command, manualProducer, says } from '../runs/stage'
import { breakOff, createProcess, reduce, STORES, savedAfter, say, type Texts } from './world'

describe('on the memory log', () => {
  transcriptsKeepUp(() => memoryLog())

  test('a restart that loses the log: what was said stays, what ran is broken off, and the new log follows', async () => {
    const store = memoryStore()
    const before = createProcess(memoryLog(), store)
    await before.log.append('s1', say('hi'))
    const { server } = createTestServer({ log: before.log })
    const producer = manualProducer()
    await createRuns({ server }).start(command('s1'), producer.produce)
    expect(await before.transcripts.read('s1')).toMatchObject({ state: ['hi', '…'], cursor: { lastSeq: 2 } })

    const after = createProcess(memoryLog(), store)
    const broken = { state: ['hi', 'broken off'], cursor: { lastSeq: 0, epoch: '' } }
    expect(await after.transcripts.read('s1')).toEqual(broken)
    expect(await store.load('s1')).toEqual(broken)
    const { epoch } = await after.log.append('s1', say('again'))
    expect(await after.transcripts.read('s1')).toEqual({
      state: ['hi', 'broken off', 'again'],
      cursor: { lastSeq: 1, epoch },
    })
  })

  test('events that the log has lost: the rest follows, and what ran in what was lost is broken off', async () => {
    const { transcripts, log } = createProcess(memoryLog({ maxEvents: 3 }), memoryStore())
    await log.append('s1', { type: 'run.started' })
    await transcripts.read('s1')
    for (const text of ['1', '2', '3', '4', '5']) await log.append('s1', say(text))
    expect(await transcripts.read('s1')).toMatchObject({
      state: ['broken off', '3', '4', '5'],
      cursor: { lastSeq: 6 },
    })
  })

  test('a log that begins anew while it is read is read from its begin', async () => {
    const log = memoryLog()
    let isAnew = false
    const { epoch } = await log.append('s1', say('new'))
    const turning: SessionLog = {
      ...log,
      head: async (id) => (isAnew ? log.head(id) : { epoch: 'old', first: 1, head: 1 }),
      read(...given) {
        isAnew = true
        return log.read(...given)
      },
    }
    const { transcripts } = createProcess(turning, memoryStore())
    expect(await transcripts.read('s1')).toEqual({ state: ['new'], cursor: { lastSeq: 1, epoch } })
  })

  test('an event that comes while the log is read is in the state and in its cursor, or in neither', async () => {
    const log = memoryLog()
    await log.append('s1', say('1'))
    const head: SessionLog['head'] = async (id) => {
      const before = await log.head(id)
      await log.append('s1', say('2'))
      return before
    }
    const { transcripts } = createProcess({ ...log, head }, memoryStore())
    expect(await transcripts.read('s1')).toMatchObject({ state: ['1', '2'], cursor: { lastSeq: 2 } })
  })

  test('a log that has lost all of the events: what ran is broken off, and the next ones follow', async () => {
    const log = memoryLog()
    const store = memoryStore()
    await log.append('s1', { type: 'run.started' })
    await createProcess(log, store).transcripts.read('s1')
    await log.append('s1', say('lost'))
    const { transcripts } = createProcess({ ...log, read: () => [] }, store)
    expect(await transcripts.read('s1')).toMatchObject({ state: ['broken off'], cursor: { lastSeq: 2 } })
  })

  test('of a session that begins nothing is broken off', async () => {
    const log = memoryLog()
    const breakOff = vi.fn((texts: Texts) => texts)
    const transcripts = createTranscripts({ log, initial: [] as Texts, reduce, breakOff })
    await log.append('s1', say('hi'))
    await transcripts.read('s1')
    expect(breakOff).not.toHaveBeenCalled()
    await transcripts.close()
  })

  test('a session that cannot be read now is what was saved of it', async () => {
    const store = memoryStore()
    const log = memoryLog()
    const { transcripts } = createProcess(log, store)
    await log.append('s1', say('hi'))
    const saved = await transcripts.read('s1')
    const head = async () => ({ epoch: '', first: 1, head: 0, isUnreadable: true })
    const cutOff = createProcess({ ...log, head }, store)
    expect(await cutOff.transcripts.read('s1')).toEqual(saved)
  })
})

describeWithRedis('on the Redis log', () => {
  const createLog = redisLogs()
  transcriptsKeepUp(createLog)

  test('C96: the answer of a process that is gone ends in the transcript too, where another one ends it', async () => {
    const store = memoryStore()
    const [one, other] = [createProcess(createLog(), store), createProcess(createLog(), store)]
    const dying = createTestServer({ log: one.log })
    const producer = manualProducer()
    await createRuns({ server: dying.server, lease: 1_000 }).start(command('s1'), producer.produce)
    const { server, clock } = createTestServer({ log: other.log })
    createRuns({ server, lease: 1_000 })
    const hasEnded = async () => {
      await clock.advance(400)
      return (await other.transcripts.read('s1')).state
    }
    expect((await one.transcripts.read('s1')).state).toEqual(['…'])
    await expect.poll(hasEnded, { timeout: 25_000, interval: 50 }).toEqual([])
  })

  test('two processes on one log: the one that is late with an older state saves it not, and reads on', async () => {
    const shared = memoryStore()
    let pause: () => Promise<unknown> = async () => {}
    const late: TranscriptStore = {
      ...shared,
      async save(...given) {
        const pausing = pause
        pause = async () => {}
        await pausing()
        return shared.save(...given)
      },
    }
    const [slow, fast] = [createProcess(createLog(), late), createProcess(createLog(), shared)]
    await slow.log.append('s1', say('1'))
    pause = async () => {
      await fast.log.append('s1', say('2'))
      await fast.transcripts.read('s1')
    }
    expect((await slow.transcripts.read('s1')).state).toEqual(['1', '2'])
    expect(await shared.load('s1')).toMatchObject({ state: ['1', '2'], cursor: { lastSeq: 2 } })
  })
})

function transcriptsKeepUp(createLog: () => SessionLog) {
  describe.each(STORES)('and in a %s', (_, createStore) => {
    test('a transcript is what was saved and what the log has after that, with the cursor of the last event', async () => {
      const store = createStore()
      const log = createLog()
      const first = createProcess(log, store)
      const { epoch } = await first.log.append('s1', say('1'))
      expect(await first.transcripts.read('s1')).toEqual({ state: ['1'], cursor: { lastSeq: 1, epoch } })
      await first.log.append('s1', say('2'))
      // As after a restart.
      const { transcripts } = createProcess(log, store)
      const expected = { state: ['1', '2'], cursor: { lastSeq: 2, epoch } }
      expect(await transcripts.read('s1')).toEqual(expected)
      expect(await store.load('s1')).toEqual(expected)
    })

    test('what a server publishes, and what its runs say, is saved within a second, with nobody reading it', async () => {
      const store = createStore()
      const { log, clock } = createProcess(createLog(), store)
      const { server } = createTestServer({ log })
      await server.publish('s1', say('hi'))
      const runs = createRuns({ server })
      await runs.start(command('s2'), says(say('one')))
      await runs.idle()
      await expect
        .poll(async () => {
          await clock.advance(1_000)
          return [(await store.load('s1'))?.state, (await store.load('s2'))?.state]
        })
        .toEqual([['hi'], ['one']])
    })

    test('close saves what is not saved yet, and leaves no timer', async () => {
      const store = createStore()
      const { log, transcripts, clock } = createProcess(createLog(), store)
      for (const text of ['1', '2']) await log.append('s1', say(text))
      await transcripts.close()
      expect((await store.load('s1'))?.state).toEqual(['1', '2'])
      expect(clock.timers).toBe(0)
    })

    test('C101: reading a session that nothing was said in saves nothing', async () => {
      const store = createStore()
      const { transcripts } = createProcess(createLog(), store)
      expect(await transcripts.read('s1')).toEqual({ state: [], cursor: { lastSeq: 0, epoch: '' } })
      expect(await store.load('s1')).toBeUndefined()
      await expect(transcripts.read('../s1')).rejects.toThrow('the session id must match')
    })
  })

  test('long gaps are read page by page', async () => {
    const { log, transcripts } = createProcess(createLog(), memoryStore())
    for (let n = 1; n <= 1_100; n += 1) await log.append('s1', say(`${n}`))
    const { state, cursor } = await transcripts.read('s1')
    expect([state.length, state.at(-1), cursor.lastSeq]).toEqual([1_100, '1100', 1_100])
  })

  test('an event that reduce throws at is left out and told, as on the page, and the rest follows', async () => {
    const { log, transcripts, errors } = createProcess(createLog(), memoryStore())
    for (const text of ['1', 'poison', '3']) await log.append('s1', say(text))
    expect(await transcripts.read('s1')).toMatchObject({ state: ['1', '3'], cursor: { lastSeq: 3 } })
    expect(String(errors)).toContain("event 2 ('said') of session s1 is left out (Error: cannot be read)")
  })

  test('with a protocol reduce gets the events as the page does: transformed, and none that does not fit', async () => {
    const log = createLog()
    const protocol = defineProtocol({
      up: {},
      down: { said: z.object({ text: z.string().transform((text) => text.toUpperCase()) }) },
    })
    const errors: unknown[] = []
    const transcripts = createTranscripts({
      log,
      protocol,
      initial: [] as Texts,
      reduce: (texts, event) => (event.type === 'said' ? [...texts, `${event.seq} ${event.text}`] : texts),
      onError: (error) => void errors.push(error),
    })
    await log.append('s1', say('hi'))
    await log.append('s1', { type: 'said', text: 7 })
    expect((await transcripts.read('s1')).state).toEqual(['1 HI'])
    expect(String(errors)).toContain('does not fit the protocol')
    await transcripts.close()
  })

  test('a store that fails is told once and tried again every second; a read rejects with its reason', async () => {
    const own = memoryStore()
    let isDown = true
    let tries = 0
    const store: TranscriptStore = {
      ...own,
      save(...given) {
        tries += 1
        if (isDown) throw new Error('disk full')
        return own.save(...given)
      },
    }
    const { log, transcripts, clock, errors } = createProcess(createLog(), store)
    await log.append('s1', say('hi'))
    await expect(transcripts.read('s1')).rejects.toThrow('disk full')
    const pass = async () => {
      await clock.advance(1_000)
      return tries
    }
    await expect.poll(pass).toBeGreaterThan(3)
    const told = new Error('transcripts: a session could not be saved; it is tried again every second', {
      cause: new Error('disk full'),
    })
    expect(errors).toEqual([told])
    isDown = false
    await expect.poll(() => savedAfter(clock, own)).toEqual(['hi'])
    // The next outage is another one.
    isDown = true
    await log.append('s1', say('again'))
    await expect.poll(() => pass().then(() => errors)).toEqual([told, told])
  })
}

test.each([
  [{ lgo: memoryLog() }, "unknown option 'lgo'"],
  [{ log: {} }, "'log' must have a function 'append'"],
  [{ reduce: 7 }, "'reduce' must be a function"],
  [{ breakOff: 7 }, "'breakOff' must be a function"],
  [{ store: {} }, "'store' must have a function 'load'"],
  [{ onError: 7 }, "'onError' must be a function"],
  [{ clock: {} }, "'clock' must have a function 'setTimeout'"],
])('an option that does not fit is named: %o', (wrong, sentence) => {
  const options = { log: memoryLog(), initial: [] as Texts, reduce, breakOff, ...wrong }
  expect(() => createTranscripts(options as never)).toThrow(sentence)
})

test.each([{ lastSeq: '7', epoch: 'e' }, { lastSeq: 7 }, undefined])(
  'a store whose cursor is none is named: %o',
  async (cursor) => {
    const store = { load: () => ({ state: [], cursor }), save: () => true }
    const transcripts = createTranscripts({ log: memoryLog(), initial: [] as Texts, reduce, store: store as never })
    await expect(transcripts.read('s1')).rejects.toThrow('the store has no cursor { lastSeq: number, epoch: string }')
  },
)

test('server.read has the events of a session, and creates nothing', async () => {
  const log = memoryLog({ clock: fakeClock() })
  const server = createChatServer({ log, authenticate: () => null, authorize: () => true, onCommand() {} })
  for (const text of ['1', '2', '3']) await server.publish('s1', say(text))
  expect((await server.read('s1')).map(({ seq, event }) => [seq, event.text])).toEqual([
    [1, '1'],
    [2, '2'],
    [3, '3'],
  ])
  expect((await server.read('s1', 1, 1)).map(({ seq }) => seq)).toEqual([2])
  for (let n = 4; n <= 501; n += 1) await server.publish('s1', say(`${n}`))
  expect(await server.read('s1')).toHaveLength(500)
  expect(await server.read('unknown')).toEqual([])
  await expect(server.read('../s1')).rejects.toThrow('read: the session id must match')
  await expect(server.read('s1', -1)).rejects.toThrow("'after' must be an integer")
  await expect(server.read('s1', 0, 0)).rejects.toThrow("'limit' must be an integer")
  await server.close()
})
