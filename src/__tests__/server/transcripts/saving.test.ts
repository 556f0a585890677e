import { expect, test, vi } from 'vitest'
import { memoryLog, type SessionLog } from '../../../server'
import { createRuns } from '../../../server/runs'
import { createTranscripts, memoryStore, type TranscriptStore } from '../../../server/transcripts'
import { createTestServer } from '../../support/server'
import { command, manualProducer } from '../runs/stage'
import { createProcess, reduce, savedAfter, say, type Texts } from './world'

// When what a process has appended is saved, and what becomes of it where that fails.

test('an append that rejects may have been done all the same: it is saved', async () => {
  const log = memoryLog()
  const store = memoryStore()
  const append: SessionLog['append'] = async (...given) => {
    await log.append(...given)
    throw new Error('cut off')
  }
  const { log: heard, clock } = createProcess({ ...log, append }, store)
  await expect(heard.append('s1', say('hi'))).rejects.toThrow('cut off')
  await expect.poll(() => savedAfter(clock, store)).toEqual(['hi'])
})

test('while a run goes on, its prompt and what it says are saved within a second', async () => {
  const store = memoryStore()
  const { log, clock } = createProcess(memoryLog(), store)
  const { server } = createTestServer({ log })
  const producer = manualProducer()
  await createRuns({ server }).start(command('s1'), producer.produce, { prompt: say('prompt') })
  await expect.poll(() => savedAfter(clock, store)).toEqual(['prompt', '…'])
  producer.say(say('one'))
  await expect.poll(() => savedAfter(clock, store)).toEqual(['prompt', 'one', '…'])
})

test('a log that is a class of the app, with all that it has, is heard', async () => {
  const runs = Object.fromEntries(
    ['read', 'change', 'append', 'renew', 'overdue', 'postpone'].map((name) => [
      name,
      vi.fn(async (..._given: unknown[]) => name),
    ]),
  )
  class Own {
    readonly #log = memoryLog()
    readonly append: SessionLog['append'] = (...given) => this.#log.append(...given)
    read(...given: Parameters<SessionLog['read']>) {
      return this.#log.read(...given)
    }
    head(sessionId: string) {
      return this.#log.head(sessionId)
    }
    subscribe(...given: Parameters<SessionLog['subscribe']>) {
      return this.#log.subscribe(...given)
    }
    join() {
      return [this.#log, 'joined'] as never
    }
    joinRuns() {
      return this.#log && (runs as never)
    }
  }
  const { log } = createProcess(new Own(), memoryStore())
  await log.append('s1', say('hi'))
  expect(await log.read('s1', 0, 1)).toHaveLength(1)
  expect(await log.head('s1')).toMatchObject({ head: 1 })
  expect(log.join?.({} as never)).toContain('joined')
  const joined = log.joinRuns?.({} as never) as unknown as typeof runs
  for (const [name, original] of Object.entries(runs)) {
    await expect(joined[name]?.('s1', 'given')).resolves.toBe(name)
    expect(original).toHaveBeenCalledOnce()
  }
})

test('reads of one session at once save it once; one that fails is none of those behind it', async () => {
  const own = memoryStore()
  const save = vi.fn(own.save)
  const load = vi.fn(own.load).mockImplementationOnce(() => {
    throw new Error('cut off')
  })
  const { transcripts, log } = createProcess(memoryLog(), { load, save })
  await log.append('s1', say('hi'))
  const [first, ...others] = await Promise.allSettled([1, 2, 3].map(() => transcripts.read('s1')))
  expect(first).toMatchObject({ status: 'rejected', reason: { message: 'cut off' } })
  expect(others).toMatchObject([{ value: { state: ['hi'] } }, { value: { state: ['hi'] } }])
  expect(save).toHaveBeenCalledOnce()
})

test('a session whose store does not answer holds up no other one', async () => {
  const own = memoryStore()
  const load = (id: string) => (id === 's1' ? new Promise<never>(() => {}) : own.load(id))
  const { transcripts } = createProcess(memoryLog(), { ...own, load })
  void transcripts.read('s1')
  expect(await transcripts.read('s2')).toMatchObject({ state: [] })
})

test('a store that refuses every save is named, and not asked for ever', async () => {
  // With turns of the event loop between, so that asking for ever is a timeout.
  const save = () => new Promise<boolean>((resolve) => setImmediate(resolve, false))
  const { transcripts, log } = createProcess(memoryLog(), { ...memoryStore(), save })
  await log.append('s1', say('hi'))
  await expect(transcripts.read('s1')).rejects.toThrow('session s1 was saved by others 20 times in a row')
})

test('close waits for what is being saved', async () => {
  const own = memoryStore()
  let answer = () => {}
  const answering = new Promise<void>((resolve) => {
    answer = resolve
  })
  const isAsked = vi.fn()
  const save: TranscriptStore['save'] = async (...given) => {
    isAsked()
    await answering
    return own.save(...given)
  }
  const { transcripts, log, clock } = createProcess(memoryLog(), { ...own, save })
  await log.append('s1', say('hi'))
  await clock.advance(1_000)
  await expect.poll(() => isAsked.mock.calls).toHaveLength(1)
  const closed = vi.fn()
  const closing = transcripts.close().then(closed)
  await clock.advance(1_000)
  expect(closed).not.toHaveBeenCalled()
  answer()
  await closing
  expect(await own.load('s1')).toMatchObject({ state: ['hi'] })
  expect(clock.timers).toBe(0)
})

test('an onError that throws changes nothing', async () => {
  const onError = () => {
    throw new Error('of the app')
  }
  const transcripts = createTranscripts({ log: memoryLog(), initial: [] as Texts, reduce, onError })
  for (const text of ['1', 'poison', '3']) await transcripts.log.append('s1', say(text))
  expect((await transcripts.read('s1')).state).toEqual(['1', '3'])
  await transcripts.close()
})
