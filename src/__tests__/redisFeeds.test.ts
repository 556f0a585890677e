import { describe, expect, test, vi } from 'vitest'
import type { LogEntry } from '../server'
import { createFeeds } from '../server/redis/feeds'
import { SessionFeed } from '../server/redis/sessionFeed'
import { createSubscriptions } from '../server/redis/subscriptions'
import { fakeClock, range, settle } from './_server'

const entryOf = (seq: number, epoch = 'e'): LogEntry => ({ sessionId: 's', seq, epoch, event: { type: 'x' } })
const told = (seq: number, epoch = 'e') => ({ epoch, seq, entry: entryOf(seq, epoch) })
const bigOne = (seq: number) => ({ epoch: 'e', seq, entry: undefined })
const seqs = (entries: readonly LogEntry[] | undefined) => entries?.map(({ seq }) => seq)

/** A feed, and the head that Redis tells when the test says so. */
function createFeed() {
  const asked: ((head: { epoch: string; head: number }) => void)[] = []
  const feed = new SessionFeed(() => new Promise((resolve) => asked.push(resolve)))
  const listener = vi.fn()
  feed.listeners.add(listener)
  return {
    feed,
    listener,
    get asked() {
      return asked.length
    },
    async answer(head: number, epoch = 'e') {
      asked.shift()?.({ epoch, head })
      await settle()
    },
  }
}

async function createLiveFeed(head = 10) {
  const created = createFeed()
  const refreshing = created.feed.refresh()
  await created.answer(head)
  await refreshing
  return created
}

describe('the newest events of a session', () => {
  test('are known when Redis has told where the log is, and not before', async () => {
    const { feed, answer } = createFeed()
    expect(feed.entriesAfter(0, 10)).toBeUndefined()
    const refreshing = feed.refresh()
    expect(feed.entriesAfter(0, 10)).toBeUndefined()
    await answer(10)
    // The first reading is no repair.
    expect(await refreshing).toBe(false)
    expect(feed.entriesAfter(10, 10)).toEqual([])
    expect(feed.entriesAfter(12, 10)).toEqual([])
    expect(feed.entriesAfter(9, 10)).toBeUndefined()
  })

  test('are those that follow on each other', async () => {
    const { feed, listener } = await createLiveFeed()
    for (const seq of [11, 12, 13]) feed.take(told(seq))
    expect(listener).toHaveBeenCalledTimes(3)
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11, 12, 13])
    expect(seqs(feed.entriesAfter(11, 1))).toEqual([12])
    expect(feed.entriesAfter(9, 10)).toBeUndefined()
  })

  test('told twice are one', async () => {
    const { feed, listener } = await createLiveFeed()
    for (const seq of [11, 11, 10, 11]) feed.take(told(seq))
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11])
    expect(listener).toHaveBeenCalledTimes(1)
  })

  test.each([
    ['a jump', told(12)],
    ['another epoch', told(11, 'other')],
  ])('do not go on after %s, until Redis has told where', async (_, announcement) => {
    const { feed, listener, answer } = await createLiveFeed()
    feed.take(announcement)
    expect(feed.entriesAfter(10, 10)).toEqual([])
    expect(listener).not.toHaveBeenCalled()
    await answer(12, announcement.epoch)
    expect(listener).toHaveBeenCalledTimes(1)
    expect(feed.entriesAfter(11, 10)).toBeUndefined()
    expect(feed.entriesAfter(12, 10)).toEqual([])
  })

  test('that were only late are not missed: what is kept is kept', async () => {
    const { feed, answer } = await createLiveFeed()
    feed.take(told(11))
    const refreshing = feed.refresh()
    for (const seq of [12, 13]) feed.take(told(seq))
    await answer(12)
    expect(await refreshing).toBe(false)
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11, 12, 13])
  })

  test('are in step when Redis was asked after the call, and not only before', async () => {
    const created = await createLiveFeed()
    const { feed, answer } = created
    void feed.refresh()
    let isDone = false
    const syncing = Promise.all([feed.sync(), feed.sync()]).then(() => (isDone = true))
    await answer(10)
    expect(isDone).toBe(false)
    // One question for both.
    expect(created.asked).toBe(1)
    await answer(12)
    expect(await syncing).toBe(true)
    expect(feed.entriesAfter(10, 10)).toBeUndefined()
  })

  test('that are told while Redis is asked follow on what it tells', async () => {
    const { feed, listener, answer } = await createLiveFeed()
    feed.take(told(12))
    for (const seq of [12, 13, 14]) feed.take(told(seq))
    await answer(13)
    expect(seqs(feed.entriesAfter(13, 10))).toEqual([14])
    expect(listener).toHaveBeenCalledTimes(2)
  })

  test('that are told too early for the answer lead to another question', async () => {
    const created = await createLiveFeed()
    const { feed, listener, answer } = created
    feed.take(told(12))
    feed.take(told(15))
    await answer(13)
    expect(created.asked).toBe(1)
    await answer(15)
    expect(feed.entriesAfter(15, 10)).toEqual([])
    expect(listener).toHaveBeenCalledTimes(2)
  })

  test('of which one is too big to be told begin after it', async () => {
    const created = await createLiveFeed()
    const { feed, listener } = created
    feed.take(told(11))
    feed.take(bigOne(12))
    feed.take(told(13))
    expect(listener).toHaveBeenCalledTimes(3)
    expect(feed.entriesAfter(11, 10)).toBeUndefined()
    expect(seqs(feed.entriesAfter(12, 10))).toEqual([13])
    expect(created.asked).toBe(0)
  })

  test('are 64 at most', async () => {
    const { feed } = await createLiveFeed(0)
    for (const seq of range(1, 70)) feed.take(told(seq))
    expect(feed.entriesAfter(5, 100)).toBeUndefined()
    expect(seqs(feed.entriesAfter(6, 100))).toEqual(range(7, 70))
  })

  test('are let go where nothing happens between two looks', async () => {
    const { feed } = await createLiveFeed()
    feed.take(told(11))
    feed.tidy()
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11])
    feed.tidy()
    expect(feed.entriesAfter(10, 10)).toBeUndefined()
    expect(feed.entriesAfter(11, 10)).toEqual([])
  })

  test('are asked for again with the next one that is told, if Redis did not answer', async () => {
    let isDown = true
    const feed = new SessionFeed(async () => (isDown ? Promise.reject(new Error('down')) : { epoch: 'e', head: 7 }))
    isDown = false
    await feed.refresh()
    isDown = true
    await expect(feed.refresh()).rejects.toThrow('down')
    expect(feed.entriesAfter(7, 10)).toBeUndefined()
    isDown = false
    feed.take(told(7))
    await settle()
    expect(feed.entriesAfter(7, 10)).toEqual([])
  })
})

describe('listening to a session', () => {
  function create() {
    const calls: string[] = []
    const heads = new Map<string, number>()
    const clock = fakeClock()
    let repairs = 0
    const state = { isDown: false, unreadable: '' }
    const feeds = createFeeds({
      async subscribe(sessionId) {
        calls.push(`subscribe ${sessionId}`)
      },
      unsubscribe: (sessionId) => calls.push(`unsubscribe ${sessionId}`),
      async repair() {
        calls.push('repair')
      },
      async readHead(sessionId) {
        calls.push(`head ${sessionId}`)
        if (state.isDown) throw new Error('down')
        if (state.unreadable === sessionId) return undefined
        return { epoch: 'e', head: heads.get(sessionId) ?? 0 }
      },
      onRepair: () => {
        repairs += 1
      },
      onCheck: () => calls.push('check'),
      clock,
    })
    return {
      feeds,
      calls,
      heads,
      clock,
      state,
      get repairs() {
        return repairs
      },
    }
  }

  test('begins with the subscription: what is appended before it is read, and after it is told', async () => {
    const { feeds, calls } = create()
    await feeds.listen('s', () => {})
    expect(calls).toEqual(['subscribe s', 'head s'])
  })

  test('is one subscription, however many listen; it ends with the last', async () => {
    const { feeds, calls } = create()
    const listener = vi.fn()
    const stops = [await feeds.listen('s', listener), await feeds.listen('s', listener)]
    // The second one is to find all that was appended before it came.
    expect(calls).toEqual(['subscribe s', 'head s', 'head s'])
    calls.length = 0
    listener.mockClear()
    feeds.take('s', told(1))
    expect(listener).toHaveBeenCalledTimes(2)
    for (const stop of stops) stop()
    for (const stop of stops) stop()
    expect(calls).toEqual(['unsubscribe s'])
    feeds.take('s', told(2))
    expect(listener).toHaveBeenCalledTimes(2)
    expect(feeds.entriesAfter('s', 0, 10)).toBeUndefined()
  })

  test('that fails leaves nothing behind, and can be tried again', async () => {
    const { feeds, calls, state } = create()
    state.isDown = true
    await expect(feeds.listen('s', () => {})).rejects.toThrow('down')
    state.isDown = false
    await feeds.listen('s', () => {})
    expect(calls).toEqual(['subscribe s', 'head s', 'unsubscribe s', 'subscribe s', 'head s'])
  })

  test('goes on after a reconnect: subscribed first, and then read', async () => {
    const made = create()
    const { feeds, calls, heads } = made
    const listener = vi.fn()
    await feeds.listen('s', listener)
    await feeds.listen('t', () => {})
    calls.length = 0
    listener.mockClear()
    heads.set('s', 3)
    await feeds.resubscribe()
    expect(calls).toEqual(['repair', 'head s', 'head t'])
    expect(listener).toHaveBeenCalledTimes(1)
    expect(made.repairs).toBe(1)
  })

  test('asks anew after a reconnect, though a question was under way: it may have been too early', async () => {
    const answers: ((head: number) => void)[] = []
    const feeds = createFeeds({
      subscribe: async () => {},
      unsubscribe: () => {},
      repair: async () => {},
      readHead: () => new Promise((resolve) => answers.push((head) => resolve({ epoch: 'e', head }))),
      onRepair: () => {},
      onCheck: () => {},
      clock: fakeClock(),
    })
    const listener = vi.fn()
    const listening = feeds.listen('s', listener)
    await settle()
    answers.shift()?.(1)
    await listening
    // Asked before the cut, answered after it.
    feeds.take('s', told(3))
    const resubscribing = feeds.resubscribe()
    await settle()
    answers.shift()?.(3)
    await settle()
    answers.shift()?.(4)
    await resubscribing
    expect(feeds.entriesAfter('s', 4, 10)).toEqual([])
    expect(feeds.entriesAfter('s', 3, 10)).toBeUndefined()
  })

  test('is looked after every 10 s, until it is closed', async () => {
    const made = create()
    const { feeds, calls, heads, clock } = made
    const listener = vi.fn()
    const stop = await feeds.listen('s', listener)
    calls.length = 0
    listener.mockClear()
    heads.set('s', 2)
    await clock.advance(9_999)
    expect(calls).toEqual([])
    await clock.advance(1)
    expect(calls).toEqual(['check', 'repair', 'head s'])
    expect([listener.mock.calls.length, made.repairs]).toEqual([1, 1])
    await clock.advance(10_000)
    expect([listener.mock.calls.length, made.repairs]).toEqual([1, 1])
    stop()
    calls.length = 0
    await clock.advance(10_000)
    expect(calls).toEqual(['check', 'repair'])
    feeds.close()
    expect(clock.timers).toBe(0)
  })

  test('that ends while it is looked after is not looked after again', async () => {
    const { feeds, clock } = create()
    await feeds.listen('s', () => {})
    const looking = clock.advance(10_000)
    feeds.close()
    await looking
    expect(clock.timers).toBe(0)
  })

  test('by many is looked after, and one that fails does not stop the rest', async () => {
    const made = create()
    const { feeds, calls, state, heads, clock } = made
    const listener = vi.fn()
    for (const n of range(1, 1_001)) await feeds.listen(`s${n}`, listener)
    calls.length = 0
    state.isDown = true
    await feeds.resubscribe()
    expect(calls).toEqual(['repair', ...range(1, 1_001).map((n) => `head s${n}`)])
    expect(listener).not.toHaveBeenCalled()
    state.isDown = false
    for (const n of range(1, 1_001)) heads.set(`s${n}`, 1)
    await clock.advance(10_000)
    expect(listener).toHaveBeenCalledTimes(1_001)
  })

  test('C90: to one that cannot be read goes on when it can: whoever is behind is told', async () => {
    const { feeds, heads, state, clock } = create()
    const listener = vi.fn()
    heads.set('s', 3)
    state.unreadable = 's'
    await feeds.listen('s', listener)
    expect(feeds.entriesAfter('s', 0, 10)).toBeUndefined()
    await clock.advance(10_000)
    expect(listener).not.toHaveBeenCalled()
    state.unreadable = ''
    await clock.advance(10_000)
    expect(listener).toHaveBeenCalledTimes(1)
    expect(feeds.entriesAfter('s', 3, 10)).toEqual([])
    // And once more, though its head is where it was.
    state.unreadable = 's'
    await clock.advance(10_000)
    state.unreadable = ''
    await clock.advance(10_000)
    expect(listener).toHaveBeenCalledTimes(2)
  })
})

describe('what a process is subscribed to', () => {
  const refusal = () => new Error('NOPERM No permissions to access a channel')

  function create() {
    const calls: string[] = []
    const refused: unknown[] = []
    const state = { refuses: undefined as string | undefined, isSilent: false }
    const call = (name: string, channels: readonly unknown[]) => {
      calls.push(`${name} ${channels.length > 3 ? channels.length : channels.join()}`)
      if (state.isSilent) throw new Error('Command timed out')
      if (
        state.refuses !== undefined &&
        channels.some((channel) => String(channel).startsWith(String(state.refuses)))
      ) {
        throw refusal()
      }
    }
    const subscriptions = createSubscriptions({
      redis: {
        subscribe: async (...channels: unknown[]) => call('subscribe', channels),
        unsubscribe: async (...channels: unknown[]) => call('unsubscribe', channels),
      },
      onRefused: (cause) => refused.push(cause),
    })
    return { subscriptions, calls, refused, state }
  }

  test('C91: a subscription that was refused is asked for again, until it stands; it is told once', async () => {
    const { subscriptions, calls, refused, state } = create()
    state.refuses = ''
    await subscriptions.add('a')
    for (const _ of range(1, 3)) await subscriptions.repair()
    expect([calls, refused]).toEqual([Array(4).fill('subscribe a'), [refusal()]])
    state.refuses = undefined
    for (const _ of range(1, 3)) await subscriptions.repair()
    expect(calls).toHaveLength(5)
    state.refuses = ''
    await subscriptions.add('b')
    expect(refused).toHaveLength(2)
  })

  test('C91: all of them are asked for again after a reconnect; one that is refused takes no other along', async () => {
    const { subscriptions, calls, state } = create()
    for (const name of ['a', 'b', 'c']) await subscriptions.add(name)
    calls.length = 0
    subscriptions.lose()
    state.refuses = 'b'
    await subscriptions.repair()
    expect(calls).toEqual(['subscribe a,b,c', 'subscribe a', 'subscribe b', 'subscribe c'])
    calls.length = 0
    await subscriptions.repair()
    expect(calls).toEqual(['subscribe b'])
  })

  test('C91: one that Redis never answered is asked for again, and many in parts', async () => {
    const { subscriptions, calls, refused, state } = create()
    await Promise.all(range(1, 1_001).map((n) => subscriptions.add(`s${n}`)))
    subscriptions.lose()
    calls.length = 0
    state.isSilent = true
    await subscriptions.repair()
    expect(calls).toEqual(['subscribe 500', 'subscribe 500', 'subscribe s1001'])
    expect(refused).toHaveLength(1)
    state.isSilent = false
    await subscriptions.repair()
    await subscriptions.repair()
    expect(calls).toHaveLength(6)
  })

  test('C91: what could not be given back is given back later, unless it is wanted again or its connection is gone', async () => {
    const { subscriptions, calls, refused, state } = create()
    for (const name of ['a', 'b']) await subscriptions.add(name)
    state.isSilent = true
    for (const name of ['a', 'b', 'never']) await subscriptions.remove(name)
    expect(refused).toHaveLength(1)
    state.isSilent = false
    await subscriptions.add('a')
    calls.length = 0
    await subscriptions.repair()
    expect(calls).toEqual(['unsubscribe b'])
    state.isSilent = true
    await subscriptions.remove('a')
    state.isSilent = false
    subscriptions.lose()
    await subscriptions.repair()
    expect(calls).toEqual(['unsubscribe b', 'unsubscribe a'])
  })
})
