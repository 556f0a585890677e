import { persist } from 'holdline/storage'
import { describe, expect, test, vi } from 'vitest'
import type { Feature } from '../../protocol'
import { settles } from '../../testing/harness/virtualClock'
import { answeringLater, createCompatWorld, prompt, setTheScene } from '../support/compatWorld'
import { createLocks, createStorage, type FakePage } from '../support/storage'

setTheScene()

const STOP = { type: 'stop', sessionId: 's1' }
/** A server that answers nothing by itself. */
const SILENT = { post() {} }
const REFUSED = { error: 'internal' }
const posted = (world: ReturnType<typeof createCompatWorld>) =>
  world.posts.map(({ endpoint, body }) => (endpoint === 'send' ? body.prompt : endpoint))

/** A prompt is under way. */
async function createPrompted(features: readonly Feature[]) {
  const world = createCompatWorld({ features, server: [SILENT] })
  await world.opens()
  world.chat.send(prompt('a'))
  await settles()
  return { world, id: world.post('send').key as string }
}

describe('a prompt that has not run does not run after the stop of its session', () => {
  test('one that was never posted is cancelled: on an open line, and on one that is down', async () => {
    for (const isDown of [false, true]) {
      const { world } = await createPrompted([])
      world.chat.send(prompt('b'))
      world.chat.send({ ...prompt('c'), sessionId: 's2' })
      if (isDown) world.stream.fails()
      world.chat.send(STOP)
      await settles()
      world.post('send').answers(200)
      await world.passes(60_000)
      expect(posted(world)).not.toContain('b')
      expect(posted(world)).toContain('c')
    }
  })

  test('one whose POST fails behind the stop is posted no more, where the server does not know `cancels`', async () => {
    const { world } = await createPrompted([])
    world.chat.send(STOP)
    await settles()
    expect(posted(world)).toEqual(['a', 'stop'])
    world.post('stop').answers(200)
    world.post('send').answers(503, REFUSED)
    await world.passes(60_000)
    expect(posted(world)).toEqual(['a', 'stop'])
  })

  test('… and is posted again behind the stop that names it, where it does: the answer is `cancelled`', async () => {
    const { world, id } = await createPrompted(['cancels', 'idempotency'])
    world.chat.send(STOP)
    await settles()
    const stop = world.post('stop')
    expect(stop.body).toEqual({ ...STOP, cancels: [id] })
    world.post('send').answers(503, REFUSED)
    await world.passes(10_000)
    expect(posted(world)).toEqual(['a', 'stop'])
    stop.answers(200)
    await settles()
    expect(posted(world)).toEqual(['a', 'stop', 'a'])
    world.post('send').answers(409, { error: 'cancelled' })
    await world.passes(60_000)
    expect(posted(world)).toEqual(['a', 'stop', 'a'])
  })

  test.each<[string, Feature[]]>([
    ['without features', []],
    ['with `cancels`', ['cancels', 'idempotency']],
  ])('one that waits for its next POST lets the stop go first on a new line: a server %s', async (_, features) => {
    const { world } = await createPrompted(features)
    world.post('send').answers(503, REFUSED)
    await settles()
    world.stream.fails()
    world.chat.send(STOP)
    world.chat.send(prompt('next'))
    await world.passes(5_000)
    expect(posted(world)).toEqual(['a', 'stop'])
    world.post('stop').answers(200)
    await settles()
    expect(posted(world)).toEqual(['a', 'stop', features.length ? 'a' : 'next'])
  })

  test('a stop that the server refuses takes nothing back', async () => {
    const { world } = await createPrompted([])
    world.chat.send(STOP)
    await settles()
    world.post('stop').answers(403, { error: 'forbidden' })
    world.post('send').answers(503, REFUSED)
    await world.passes(10_000)
    expect(posted(world)).toEqual(['a', 'stop', 'a'])
  })

  test('with `storage`, after a reload too: prompt and stop of the last page, or the stop of this one', async () => {
    // Node has Web Locks from 24 on.
    vi.stubGlobal('navigator', undefined)
    for (const stopsBefore of [true, false]) {
      const storage = persist(createStorage())
      const old = createCompatWorld({ storage, server: [SILENT] })
      await old.opens()
      old.chat.send(prompt('a'))
      await settles()
      if (stopsBefore) old.chat.send(STOP)
      old.chat.connection.dispose()
      const next = createCompatWorld({ storage, server: [SILENT] })
      next.chat.connect()
      if (!stopsBefore) next.chat.send(STOP)
      await settles()
      expect(posted(next)).toEqual(['stop'])
      next.post('stop').answers(200)
      await next.passes(60_000)
      expect(posted(next)).toEqual(['stop'])
    }
  })

  test.each([
    ['has been read', 'later'],
    ['has been taken over from a page that is gone', 'locked'],
  ])('… also where the stop is sent before the storage %s', async (_, kind) => {
    const items = createStorage()
    const locks = createLocks()
    const page = locks.page()
    const own = (locks: FakePage) => persist(Object.create(items), { key: 'k', locks })
    const old = createCompatWorld({ storage: own(page), server: [SILENT] })
    const { chat } = old
    chat.connect()
    chat.send(prompt('a'))
    chat.disconnect()
    await settles()
    page.goes()
    const features: Feature[] = ['cancels', 'idempotency']
    const storage = kind === 'later' ? persist(answeringLater(items), { key: 'k' }) : own(locks.page())
    const next = createCompatWorld({ storage, features, server: [SILENT] })
    next.chat.connect()
    next.chat.send(STOP)
    await settles()
    expect(posted(next)).toEqual(['stop'])
    next.post('stop').answers(200)
    await settles()
    // One that may have been posted is named, and asked about.
    const isNamed = kind === 'later'
    expect([posted(next), 'cancels' in next.post('stop').body]).toEqual([isNamed ? ['stop', 'a'] : ['stop'], isNamed])
  })

  test('what only looks on is kept: `watch`, `unwatch`, modes, and what closes', async () => {
    const world = createCompatWorld()
    world.chat.connect()
    const types = ['watch', 'set_mode', 'session_close', 'unwatch']
    for (const type of types) world.chat.send({ type, sessionId: 's1' })
    world.chat.send(STOP)
    await settles()
    expect(posted(world).toSorted()).toEqual(['close', 'mode', 'stop', 'unwatch', 'watch'])
  })

  test('two stops of a session keep their order: the second is not lost on a prompt between them', async () => {
    const { world } = await createPrompted([])
    world.chat.send(STOP)
    world.chat.send(prompt('b'))
    world.chat.send(STOP)
    await settles()
    expect(posted(world)).toEqual(['a', 'stop'])
    for (const post of [...world.posts]) post.answers(200)
    await settles()
    expect(posted(world)).toEqual(['a', 'stop', 'stop'])
  })
})
