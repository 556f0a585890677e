import { ConnectionError } from 'holdline'
import { describe, expect, test } from 'vitest'
import { createWorld, resumeAnswers, settle, type World } from '../support/fakes'

/** How it ended, or that it has not. */
function outcomeOf(promise: Promise<void>) {
  const outcome: { is: unknown } = { is: 'pending' }
  promise.then(
    () => (outcome.is = 'open'),
    (why) => (outcome.is = why instanceof ConnectionError ? why.code : why),
  )
  return outcome
}

const forgetful = () => {
  const abort = new AbortController()
  let listeners = 0
  const { addEventListener, removeEventListener } = abort.signal
  Object.assign(abort.signal, {
    addEventListener: (...given: Parameters<typeof addEventListener>) => {
      listeners++
      addEventListener.apply(abort.signal, given)
    },
    removeEventListener: (...given: Parameters<typeof removeEventListener>) => {
      listeners--
      removeEventListener.apply(abort.signal, given)
    },
  })
  return { abort, listeners: () => listeners }
}

describe('whenOpen', () => {
  test('resolves at the next open, not at the welcome: the resume has succeeded by then', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 1 }] }, (post) => post.endpoint)
    const outcome = outcomeOf(world.connection.whenOpen())
    await world.opens()
    expect([world.connection.phase, outcome.is]).toEqual(['reconnecting', 'pending'])
    await world.post('reconnect').answers(200, { ok: true })
    expect([world.connection.phase, outcome.is]).toEqual(['open', 'open'])
  })

  test('resolves at once on an open line', async () => {
    const world = createWorld()
    await world.opens()
    const outcome = outcomeOf(world.connection.whenOpen())
    await settle()
    expect(outcome.is).toBe('open')
  })

  test('waits through failures', async () => {
    const world = createWorld()
    const outcome = outcomeOf(world.connection.whenOpen())
    world.connection.connect()
    world.stream.fails()
    await world.retries()
    expect(outcome.is).toBe('pending')
    await world.opens()
    expect(outcome.is).toBe('open')
  })

  test.each<[string, string, (world: World) => unknown]>([
    ['a terminal stop, with its error', 'http', (world) => world.opens()],
    ['`disconnect`', 'cancelled', ({ connection }) => connection.disconnect()],
    [
      'a disconnect that the machine is sent',
      'cancelled',
      ({ connection }) => connection.actor.send({ type: 'disconnect' }),
    ],
    ['`dispose`', 'disposed', ({ connection }) => connection.dispose()],
    ['the end of the machine', 'internal', ({ connection }) => connection.actor.send({} as never)],
  ])('rejects at %s', async (_, code, ends) => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 1 }] }, resumeAnswers(400))
    world.connection.connect()
    const outcome = outcomeOf(world.connection.whenOpen())
    await ends(world)
    await settle()
    expect(outcome.is).toBe(code)
  })

  test.each(['disconnect', 'dispose'] as const)('rejects at `%s` in idle too: nobody is left waiting', async (end) => {
    const { connection } = createWorld()
    const outcome = outcomeOf(connection.whenOpen())
    connection[end]()
    await settle()
    expect(outcome.is).toBe(end === 'dispose' ? 'disposed' : 'cancelled')
  })

  test('after `dispose` it rejects at once', async () => {
    const { connection } = createWorld()
    connection.dispose()
    const outcome = outcomeOf(connection.whenOpen())
    await settle()
    expect(outcome.is).toBe('disposed')
  })

  test('after a stop it waits for the next `connect`', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 1 }] }, resumeAnswers(400))
    await world.opens()
    const outcome = outcomeOf(world.connection.whenOpen())
    await settle()
    expect([world.log, outcome.is]).toEqual([['stopped http'], 'pending'])
    world.server((post) => post.answers(200, { ok: true }))
    await world.opens()
    expect(outcome.is).toBe('open')
  })

  test.each([
    ['its reason', 'no longer', 'no longer'],
    ['a ConnectionError, where signals know no reasons', undefined, 'cancelled'],
  ])('the abort of its signal rejects it with %s', async (_, reason, expected) => {
    const { connection } = createWorld()
    const { abort, listeners } = forgetful()
    if (!reason) Object.defineProperty(abort.signal, 'reason', { value: undefined })
    const outcome = outcomeOf(connection.whenOpen({ signal: abort.signal }))
    abort.abort(reason)
    await settle()
    expect([outcome.is, listeners()]).toEqual([expected, 0])
    const late = outcomeOf(connection.whenOpen({ signal: abort.signal }))
    await settle()
    expect(late.is).toBe(expected)
  })

  test('a signal that is aborted already rejects it on an open line too', async () => {
    const world = createWorld()
    await world.opens()
    const outcome = outcomeOf(world.connection.whenOpen({ signal: AbortSignal.abort('too late') }))
    await settle()
    expect(outcome.is).toBe('too late')
  })

  test('a signal that outlives it is left alone', async () => {
    const world = createWorld()
    const { abort, listeners } = forgetful()
    const waiting = world.connection.whenOpen({ signal: abort.signal })
    await world.opens()
    await waiting
    expect(listeners()).toBe(0)
  })

  test('what is no signal throws, and is named', () => {
    const { connection } = createWorld()
    expect(() => connection.whenOpen({ signal: {} as AbortSignal })).toThrow('signal: ')
  })
})
