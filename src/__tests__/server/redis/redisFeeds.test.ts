import { describe, expect, test, vi } from 'vitest'
import type { LogEntry } from '../../../server'
import { Feeds } from '../../../server/redis/feeds'
import { createKeys } from '../../../server/redis/keys'
import { Reader, type ReaderOptions } from '../../../server/redis/reader'
import { type News, SessionFeed } from '../../../server/redis/sessionFeed'
import { Subscriptions } from '../../../server/redis/subscriptions'
import { fakeClock, range, settle } from '../../support/server'

const KEPT = 4_096
const entryOf = (seq: number, epoch = 'e', json = '{"type":"x"}'): LogEntry => ({
  sessionId: 's',
  seq,
  epoch,
  event: JSON.parse(json),
  json,
})
const numbered = (seq: number, epoch = 'e') => ({ seq, entry: entryOf(seq, epoch) })
const bigOne = (seq: number) => ({ seq, entry: undefined })
const seqs = (entries: readonly LogEntry[] | undefined) => entries?.map(({ seq }) => seq)

/** A feed, and a Redis that answers when the test says so. */
function createFeed() {
  const asked: { after: number; limit: number; resolve(news: News | undefined): void }[] = []
  const resized: number[] = []
  const feed = new SessionFeed({
    read: (after, limit) => new Promise((resolve) => asked.push({ after, limit, resolve })),
    onResize: (chars) => resized.push(chars),
  })
  const listener = vi.fn()
  feed.listeners.add(listener)
  return {
    feed,
    listener,
    get asked() {
      return asked.length
    },
    get chars() {
      return resized.reduce((sum, chars) => sum + chars, 0)
    },
    /** With the events that were asked for, or those that are left of them. */
    async answer(head: number, epoch = 'e', left = (_: number) => true) {
      const question = asked.shift()
      if (!question) throw new Error('nothing was asked')
      const { after, limit, resolve } = question
      const entries = range(after + 1, Math.min(head, after + limit)).filter(left)
      resolve({ epoch, head, entries: entries.map((seq) => numbered(seq, epoch)) })
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

  test('are read when somebody tells of them, all at once', async () => {
    const created = await createLiveFeed()
    const { feed, listener, answer } = created
    feed.wake('e', 11)
    for (const seq of [12, 13]) feed.wake('e', seq)
    expect(created.asked).toBe(1)
    expect(listener).not.toHaveBeenCalled()
    await answer(13)
    expect(listener).toHaveBeenCalledTimes(1)
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11, 12, 13])
    expect(seqs(feed.entriesAfter(11, 1))).toEqual([12])
    expect(feed.entriesAfter(9, 10)).toBeUndefined()
    expect(created.asked).toBe(0)
  })

  test('are read again if the answer came too early for the last one that was told', async () => {
    const created = await createLiveFeed()
    const { feed, listener, answer } = created
    feed.wake('e', 11)
    feed.wake('e', 12)
    await answer(11)
    expect(created.asked).toBe(1)
    await answer(12)
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11, 12])
    expect([listener.mock.calls.length, created.asked]).toEqual([2, 0])
  })

  test('C106: who tells of what does not exist is believed nothing: it costs one look, and the real one is read', async () => {
    const created = await createLiveFeed()
    const { feed, listener, answer } = created
    for (const [epoch, seq] of [
      ['e', 11],
      ['e', 2 ** 53 - 1],
      ['forged', 1],
    ] as const) {
      feed.wake(epoch, seq)
      expect(created.asked).toBe(1)
      await answer(10)
      expect(created.asked).toBe(0)
    }
    expect([listener.mock.calls.length, feed.entriesAfter(10, 10)]).toEqual([0, []])
    feed.wake('e', 11)
    // Meanwhile, and more than once.
    for (const seq of [999, 1_000, 11]) feed.wake('e', seq)
    await answer(11)
    await answer(11)
    expect([seqs(feed.entriesAfter(10, 10)), created.asked, listener.mock.calls.length]).toEqual([[11], 0, 1])
  })

  test('are known at once where this process has appended them, and then nobody needs to ask', async () => {
    const created = await createLiveFeed()
    const { feed, listener } = created
    for (const seq of [11, 12]) {
      feed.take('e', numbered(seq))
      feed.wake('e', seq)
    }
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11, 12])
    expect([listener.mock.calls.length, created.asked]).toEqual([2, 0])
  })

  test('taken twice are one', async () => {
    const { feed, listener } = await createLiveFeed()
    for (const seq of [11, 11, 10, 11]) feed.take('e', numbered(seq))
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11])
    expect(listener).toHaveBeenCalledTimes(1)
  })

  test('of others that came before an own one are read first', async () => {
    const { feed, listener, answer } = await createLiveFeed()
    feed.take('e', numbered(12))
    expect(feed.entriesAfter(10, 10)).toEqual([])
    await answer(12)
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11, 12])
    expect(listener).toHaveBeenCalledTimes(1)
  })

  test('that are appended here while Redis is asked are not taken twice, nor taken back', async () => {
    const { feed, answer } = await createLiveFeed()
    feed.wake('e', 11)
    feed.take('e', numbered(11))
    feed.take('e', numbered(12))
    await answer(11)
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11, 12])
  })

  test('do not go on in another epoch: whoever is behind reads from Redis', async () => {
    const { feed, listener, answer } = await createLiveFeed()
    feed.take('e', numbered(11))
    feed.wake('other', 12)
    await answer(12, 'other')
    expect(listener).toHaveBeenCalledTimes(2)
    expect(feed.entriesAfter(11, 10)).toBeUndefined()
    expect(feed.entriesAfter(12, 10)).toEqual([])
  })

  test('begin after a gap, if some are gone from the log', async () => {
    const { feed, listener, answer } = await createLiveFeed()
    feed.wake('e', 20)
    await answer(20, 'e', (seq) => seq > 15)
    expect(feed.entriesAfter(15, 10)).toBeUndefined()
    expect(feed.entriesAfter(20, 10)).toEqual([])
    expect(listener).toHaveBeenCalledTimes(1)
  })

  test('that a look finds and nobody told of were missed; those that somebody tells of meanwhile were not', async () => {
    const { feed, answer } = await createLiveFeed()
    const looking = feed.refresh()
    await answer(11)
    expect(await looking).toBe(true)
    const again = feed.refresh()
    feed.wake('e', 12)
    await answer(12)
    expect(await again).toBe(false)
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11, 12])
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
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11, 12])
  })

  test('of which one is too big to be kept begin after it', async () => {
    const created = await createLiveFeed()
    const { feed, listener } = created
    for (const event of [numbered(11), bigOne(12), numbered(13)]) feed.take('e', event)
    expect(listener).toHaveBeenCalledTimes(3)
    expect(feed.entriesAfter(11, 10)).toBeUndefined()
    expect(seqs(feed.entriesAfter(12, 10))).toEqual([13])
    expect(created.asked).toBe(0)
  })

  test('are 64 at most, and their characters are accounted for', async () => {
    const created = await createLiveFeed(0)
    const { feed } = created
    for (const seq of range(1, 70)) feed.take('e', numbered(seq))
    expect(feed.entriesAfter(5, 100)).toBeUndefined()
    expect(seqs(feed.entriesAfter(6, 100))).toEqual(range(7, 70))
    expect(created.chars).toBe(64 * '{"type":"x"}'.length)
    feed.take('e', bigOne(71))
    expect(created.chars).toBe(0)
  })

  test('are let go where nothing happens between two looks', async () => {
    const { feed } = await createLiveFeed()
    feed.take('e', numbered(11))
    feed.tidy()
    expect(seqs(feed.entriesAfter(10, 10))).toEqual([11])
    feed.tidy()
    expect(feed.entriesAfter(10, 10)).toBeUndefined()
    expect(feed.entriesAfter(11, 10)).toEqual([])
  })

  test('are asked for again with the next one that is told, if Redis did not answer', async () => {
    let isDown = true
    const feed = new SessionFeed({
      read: async () => (isDown ? Promise.reject(new Error('down')) : { epoch: 'e', head: 7, entries: [] }),
      onResize: () => {},
    })
    isDown = false
    await feed.refresh()
    isDown = true
    await expect(feed.refresh()).rejects.toThrow('down')
    expect(feed.entriesAfter(7, 10)).toBeUndefined()
    isDown = false
    feed.wake('e', 7)
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
    const feeds = new Feeds({
      async subscribe(sessionId) {
        calls.push(`subscribe ${sessionId}`)
      },
      unsubscribe: (sessionId) => calls.push(`unsubscribe ${sessionId}`),
      async repair() {
        calls.push('repair')
      },
      parts: [0],
      partOf: () => 0,
      async readNews(sessionId) {
        calls.push(`head ${sessionId}`)
        if (state.isDown) throw new Error('down')
        if (state.unreadable === sessionId) return undefined
        return { epoch: 'e', head: heads.get(sessionId) ?? 0, entries: [] }
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
    feeds.take('s', 'e', () => numbered(1))
    expect(listener).toHaveBeenCalledTimes(2)
    for (const stop of stops) stop()
    for (const stop of stops) stop()
    expect(calls).toEqual(['unsubscribe s'])
    feeds.take('s', 'e', () => numbered(2))
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

  test('goes on where it can: a server that is silent holds up no session of another', async () => {
    const [calls, heads] = [[] as string[], new Map([['a1', 0]])]
    const feeds = new Feeds<string>({
      parts: ['a', 'b'],
      partOf: ([part = '']) => part,
      subscribe: async () => {},
      unsubscribe: () => {},
      repair: (part) => (part === 'b' ? new Promise(() => {}) : Promise.resolve()),
      async readNews(sessionId) {
        calls.push(sessionId)
        return { epoch: 'e', head: heads.get(sessionId) ?? 0, entries: [] }
      },
      onRepair: () => {},
      onCheck: () => {},
      clock: fakeClock(),
    })
    const listener = vi.fn()
    await feeds.listen('a1', listener)
    await feeds.listen('b1', () => {})
    calls.length = 0
    heads.set('a1', 3)
    void feeds.resubscribe()
    await settle()
    expect([calls, listener.mock.calls.length]).toEqual([['a1'], 1])
    // After a reconnect to one of them.
    calls.length = 0
    await feeds.resubscribe(new Set(['a']))
    expect(calls).toEqual(['a1'])
  })

  test('at one of several servers that answers nothing is not asked about to the end: the others are due', async () => {
    let isDown = false
    const asked: string[] = []
    const feeds = new Feeds({
      parts: ['a', 'b'],
      partOf: ([part = '']) => part,
      subscribe: async () => {},
      unsubscribe: () => {},
      repair: async () => {},
      async readNews(sessionId) {
        asked.push(sessionId)
        if (isDown && sessionId.startsWith('b')) throw new Error('down')
        return { epoch: 'e', head: 0, entries: [] }
      },
      onRepair: () => {},
      onCheck: () => {},
      clock: fakeClock(),
    })
    const count = (part: string) => asked.filter((sessionId) => sessionId.startsWith(part)).length
    for (const n of range(1, 501)) for (const part of ['a', 'b']) await feeds.listen(`${part}${n}`, () => {})
    isDown = true
    asked.length = 0
    await feeds.resubscribe()
    expect([count('a'), count('b')]).toEqual([501, 500])
    isDown = false
    asked.length = 0
    await feeds.resubscribe()
    expect([count('a'), count('b')]).toEqual([501, 501])
  })

  test('asks anew after a reconnect, though a question was under way: it may have been too early', async () => {
    const answers: ((head: number) => void)[] = []
    const feeds = new Feeds({
      subscribe: async () => {},
      unsubscribe: () => {},
      repair: async () => {},
      parts: [0],
      partOf: () => 0,
      readNews: () => new Promise((resolve) => answers.push((head) => resolve({ epoch: 'e', head, entries: [] }))),
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
    feeds.wake('s', 'e', 3)
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

  test('C105: keeps no more than 16 Mi characters of events, in however many sessions', async () => {
    const { feeds } = create()
    const json = JSON.stringify({ type: 'x', text: 'x'.repeat(KEPT - 100) })
    for (const n of range(1, 200)) {
      await feeds.listen(`s${n}`, () => {})
      for (const seq of range(1, 64)) feeds.take(`s${n}`, 'e', () => ({ seq, entry: entryOf(seq, 'e', json) }))
    }
    const kept = range(1, 200).filter((n) => feeds.entriesAfter(`s${n}`, 0, 100)?.length === 64)
    const chars = kept.length * 64 * json.length
    expect(chars).toBeLessThanOrEqual(16_777_216)
    expect(chars).toBeGreaterThan(4_000_000)
    expect(kept).toContain(200)
    // Whoever is behind in one of the others reads from Redis.
    expect([feeds.entriesAfter('s1', 0, 100), feeds.entriesAfter('s1', 64, 100)]).toEqual([undefined, []])
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

describe('C48: what streams read from Redis', () => {
  type Link = ReaderOptions['link']
  /** A Redis that answers when the test says so. */
  function create() {
    const asked: ((seq: number) => void)[] = []
    const holdlineRead = () =>
      new Promise((resolve) =>
        asked.push((seq) => resolve(['e', seq, [[`0-${seq}`, ['e', JSON.stringify({ type: 'x', n: seq })]]], ''])),
      )
    const link = { commands: { holdlineRead }, server: async () => 'primary' } as unknown as Link
    const health = { hasRead() {}, writes() {} } as unknown as ReaderOptions['health']
    const onError = (error: Error) => {
      throw error
    }
    return {
      asked,
      reader: new Reader({ link, keys: createKeys('h'), health, maxSessionBytes: 1e6, keep: 0, onError }),
    }
  }

  test('in one turn is one question, if it is the same: a big event is not fetched once for each of them', async () => {
    const { asked, reader } = create()
    const reads = range(1, 20).map(() => reader.read('s', 0, 16))
    const others = [reader.read('s', 1, 16), reader.read('s', 0, 4), reader.read('t', 0, 16)]
    await settle()
    expect(asked).toHaveLength(4)
    for (const answer of asked) answer(7)
    for (const read of [...reads, ...others]) expect(seqs(await read)).toEqual([7])
  })

  test('in a later turn is asked anew: the answer that is under way may lack what is told of now', async () => {
    const { asked, reader } = create()
    const early = reader.read('s', 0, 16)
    await settle()
    const late = reader.read('s', 0, 16)
    await settle()
    expect(asked).toHaveLength(2)
    asked[0]?.(1)
    asked[1]?.(2)
    expect([seqs(await early), seqs(await late)]).toEqual([[1], [2]])
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
    const subscriptions = new Subscriptions({
      redis: {
        subscribe: async (...channels: unknown[]) => call('subscribe', channels),
        unsubscribe: async (...channels: unknown[]) => call('unsubscribe', channels),
      },
      onRefused: (cause) => refused.push(cause),
      onRestored: () => calls.push('restored'),
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
    expect(calls.slice(4)).toEqual(['subscribe a', 'restored'])
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
    expect(calls.slice(3)).toEqual(['subscribe 500', 'subscribe 500', 'subscribe s1001', 'restored'])
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
    expect(calls).toEqual(['unsubscribe b', 'restored'])
    state.isSilent = true
    await subscriptions.remove('a')
    state.isSilent = false
    subscriptions.lose()
    await subscriptions.repair()
    expect(calls).toEqual(['unsubscribe b', 'restored', 'unsubscribe a', 'restored'])
  })
})
