import { describe, expect, test, vi } from 'vitest'
import { Receipts } from '../../server/command/receipts'
import { Budgets } from '../../server/limits/budget'
import { CANCELLED } from '../../server/log/cluster'
import { answer, createTestServer, manualCommands, openStream, range, settle, until } from '../support/server'

const PROMPT = { type: 'send', sessionId: 'room' }
const CANCELLED_ANSWER = [409, { error: 'cancelled' }]
const stop = (cancels: unknown) => ({ type: 'stop', sessionId: 'room', cancels })

async function start(options: Parameters<typeof createTestServer>[0] = {}) {
  const commands = manualCommands()
  const { server, clock, errors } = createTestServer({ onCommand: commands.onCommand, ...options })
  const stream = await openStream(server)
  const send = (key: string, fields = {}, lane = 'session:room') =>
    answer(stream.post('send', { ...PROMPT, ...fields }, { key, headers: { 'X-Lane': encodeURIComponent(lane) } }))
  const stopping = (cancels: unknown, key = 'stop') =>
    answer(stream.post('stop', stop(cancels), { key, headers: { 'X-Lane': 'stop%3Asession%3Aroom' } }))
  const begun = (count: number) => until(() => commands.calls.length === count, `command ${count}`)
  const keys = () => commands.calls.map(({ idempotencyKey }) => idempotencyKey)
  return { server, clock, errors, stream, commands, send, stopping, begun, keys }
}

describe('a stop', () => {
  test('keeps what it names from beginning: a late copy is answered `cancelled`, alone, in a batch, on another stream', async () => {
    const { server, stream, commands, stopping, send, begun, keys } = await start()
    const answered = stopping(['a', 'b'])
    await begun(1)
    commands.endNext()
    expect(await answered).toEqual([200, { n: 1 }])
    expect(await send('a')).toEqual(CANCELLED_ANSWER)
    const messages = ['a', 'b'].map((id) => ({ id, endpoint: 'send', body: PROMPT }))
    const results = messages.map(({ id }) => ({ id, status: 409, error: 'cancelled' }))
    expect(await answer(stream.post('batch', { messages }))).toEqual([200, { results }])
    const other = await openStream(server)
    const copy = other.post('send', { ...PROMPT, whatever: 1 }, { key: 'b' })
    expect(await answer(copy)).toEqual(CANCELLED_ANSWER)
    expect(keys()).toEqual(['stop'])
  })

  test('has what waits answered at once, and goes before it; what has begun, or is over, is not touched', async () => {
    const { commands, stopping, send, begun, keys } = await start()
    const over = send('over')
    await begun(1)
    commands.endNext()
    expect(await over).toEqual([200, { n: 1 }])
    const running = send('running')
    await begun(2)
    // One of them waits for the session, the other one in the lane before that.
    const waiting = [send('queued', {}, 'other'), send('behind')]
    await settle(20)
    const stopped = stopping(['over', 'running', 'queued', 'behind'])
    expect(await waiting[0]).toEqual(CANCELLED_ANSWER)
    expect(keys()).toEqual(['over', 'running'])
    const repeat = send('running', {}, 'repeats')
    await settle(20)
    commands.endNext()
    for (const answered of [running, repeat]) expect(await answered).toEqual([200, { n: 2 }])
    await begun(3)
    commands.endNext()
    expect(await stopped).toEqual([200, { n: 3 }])
    expect(await waiting[1]).toEqual(CANCELLED_ANSWER)
    expect(await send('over')).toEqual([200, { n: 1 }])
    expect(keys()).toEqual(['over', 'running', 'stop'])
  })

  test('keeps what had begun, and fails then, from being run again: the user has stopped it', async () => {
    const { calls, onCommand, endNext } = manualCommands()
    const { stream, stopping, send } = await start({
      onCommand: async (call) => {
        await onCommand(call)
        if (call.type === 'send') throw new Error('the model is away')
      },
    })
    const failing = send('a')
    await until(() => calls.length === 1, 'the first')
    const cancel = vi.spyOn(Receipts.prototype, 'cancel')
    const stopped = stopping(['a'])
    await until(() => cancel.mock.calls.length === 1, 'the stop’s look at what waits')
    cancel.mockRestore()
    endNext()
    expect(await failing).toEqual(CANCELLED_ANSWER)
    await until(() => calls.length === 2, 'the stop')
    endNext()
    expect((await stopped)[0]).toBe(200)
    expect(await send('a')).toEqual(CANCELLED_ANSWER)
    // A message that no stop has named is run again when it is repeated.
    for (const count of [3, 4]) {
      const other = send('b')
      await until(() => calls.length === count, `command ${count}`)
      endNext()
      expect(await other).toEqual([500, { error: 'internal' }])
    }
    expect(calls.map(({ idempotencyKey }) => idempotencyKey)).toEqual(['a', 'stop', 'b', 'b'])
    await stream.cancel()
  })

  test('takes back what waits on another stream of its principal, and nobody else’s', async () => {
    const { server, commands, stopping, begun, keys } = await start()
    const [own, bobs] = [await openStream(server), await openStream(server, 'bob')]
    const running = own.post('send', PROMPT, { key: 'running' })
    await begun(1)
    const waiting = [own, bobs].map((stream) => answer(stream.post('send', PROMPT, { key: 'same' })))
    await settle(20)
    const stopped = stopping(['same'])
    expect(await waiting[0]).toEqual(CANCELLED_ANSWER)
    for (const n of [2, 3]) {
      commands.endNext()
      await begun(n)
    }
    commands.endNext()
    expect((await waiting[1])?.[0]).toBe(200)
    await Promise.all([running, stopped])
    expect(keys().toSorted()).toEqual(['running', 'same', 'stop'])
  })

  test('that its principal may not make takes nothing back', async () => {
    const { commands, stream, send, begun } = await start()
    const refused = stream.post('stop', { ...stop(['a']), sessionId: 'bob' }, { key: 'stop' })
    expect((await refused).status).toBe(403)
    const sent = send('a')
    await begun(1)
    commands.endNext()
    expect((await sent)[0]).toBe(200)
  })

  test('that comes again takes back no more than it did', async () => {
    const { commands, stopping, send, begun } = await start()
    const first = stopping(['a'])
    await begun(1)
    commands.endNext()
    expect(await first).toEqual(await stopping(['a']))
    expect(await stopping(['a', 'b'])).toEqual([409, { error: 'id-reused' }])
    const sent = send('b')
    await begun(2)
    commands.endNext()
    expect((await sent)[0]).toBe(200)
  })

  test('that names itself runs, also when it had to wait', async () => {
    const { commands, stopping, send, begun } = await start()
    const running = send('running')
    await begun(1)
    const answered = stopping(['stop', 'a', 'a'])
    await settle(20)
    commands.endNext()
    await begun(2)
    commands.endNext()
    expect((await running)[0]).toBe(200)
    expect((await answered)[0]).toBe(200)
    expect(await stopping(['stop', 'a', 'a'])).toEqual(await answered)
  })

  test.each<[string, unknown]>([
    ['no list', 'a'],
    ['null', null],
    ['something that is no id', ['a', 7]],
    ['an id with a space', ['a b']],
    ['more than 1,000', range(1, 1_001).map(String)],
  ])('whose cancels are %s is a bad request', async (_, cancels) => {
    const { stopping, keys } = await start()
    expect([await stopping(cancels), keys()]).toEqual([
      [400, { error: 'bad-request', message: expect.any(String) }],
      [],
    ])
  })

  test('may name 1,000, and is the app’s with all of them; other messages may say what they like under `cancels`', async () => {
    const { commands, stopping, send, begun } = await start()
    const ids = range(1, 1_000).map(String)
    const answered = stopping(ids)
    await begun(1)
    expect(commands.calls[0]?.message.cancels).toEqual(ids)
    commands.endNext()
    expect((await answered)[0]).toBe(200)
    expect(await send('1000')).toEqual(CANCELLED_ANSWER)
    const sent = send('other', { cancels: 7 })
    await begun(2)
    commands.endNext()
    expect((await sent)[0]).toBe(200)
  })

  test('C100: for which there is no room is a 429 before it is run, and takes nothing back', async () => {
    const { commands, stopping, send, begun, keys } = await start({ limits: { receipts: 32 } })
    expect(await stopping(range(1, 5).map(String))).toEqual([429, { error: 'too-many' }])
    const sent = send('1')
    await begun(1)
    commands.endNext()
    expect((await sent)[0]).toBe(200)
    expect(keys()).toEqual(['1'])
  })

  test('is remembered as long as a receipt is', async () => {
    const { clock, commands, stopping, send, begun } = await start({ limits: { receiptAge: 60_000 } })
    const stopped = stopping(['a'])
    await begun(1)
    commands.endNext()
    await stopped
    await clock.advance(59_999)
    expect(await send('a')).toEqual(CANCELLED_ANSWER)
    await clock.advance(1)
    const sent = send('a')
    await begun(2)
    commands.endNext()
    expect((await sent)[0]).toBe(200)
  })
})

test('C100: what was taken back says so also where the texts of receipts have no room', () => {
  const budgets = new Budgets(80_000)
  const receipts = new Receipts({
    budgets,
    receipts: 8_000,
    receiptAge: 9e9,
    clock: { now: () => 0 },
    onError: expect.unreachable,
  })
  const account = budgets.of('a')
  account.take(6_000)
  const ids = ['["a","1"]', '["a","2"]']
  expect(receipts.cancel('a', ids)).toEqual(ids)
  expect(ids.map((id) => receipts.find(id)?.answer)).toEqual(Array(2).fill(CANCELLED.answer))
  const before = budgets.process.used
  expect(() =>
    receipts.cancel(
      'a',
      range(3, 100).map((n) => `["a","${n}"]`),
    ),
  ).toThrow('too-many')
  expect(budgets.process.used).toBe(before)
})
