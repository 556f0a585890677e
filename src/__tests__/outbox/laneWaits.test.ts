import { describe, expect, test } from 'vitest'
import { type Lane, laneName, Wait } from '../../outbox/lane'
import { Lanes } from '../../outbox/lanes'
import type { Message } from '../../outbox/message'
import { Queue } from '../../outbox/queue'
import { createMessage } from '../support/outboxParts'

const NOW = 1_000
const ownWait = (delay: number) => new Wait('client', NOW, delay)
const serverWait = (delay: number) => new Wait('server', NOW, delay)

/** Three lanes, each with a message. */
function createLanes() {
  const lanes = new Lanes()
  const messages = ['a', 'b', 'c'].map((name) => createMessage(lanes.get(name))) as [Message, Message, Message]
  for (const message of messages) lanes.enter(message, 'last')
  const [a, b, c] = messages.map(({ lane }) => lane) as [Lane, Lane, Lane]
  return { lanes, messages, a, b, c }
}

describe('of two waits of one lane', () => {
  test.each<[string, Wait, Wait, counts: 'first' | 'second']>([
    ['of our own the longer one counts: it came first', ownWait(200), ownWait(100), 'first'],
    ['of our own the longer one counts: it came second', ownWait(100), ownWait(200), 'second'],
    ['of the server the longer one counts: it came first', serverWait(200), serverWait(100), 'first'],
    ['of the server the longer one counts: it came second', serverWait(100), serverWait(200), 'second'],
    ['C40: that of the server counts, though it is shorter: it came first', serverWait(100), ownWait(200), 'first'],
    ['C40: that of the server counts, though it is shorter: it came second', ownWait(200), serverWait(100), 'second'],
  ])('%s', (_, first, second, counts) => {
    const { lanes, a } = createLanes()
    lanes.wait(a, first)
    lanes.wait(a, second)
    expect(a.wait).toBe(counts === 'first' ? first : second)
  })
})

describe('C40 I13: a wait that the server asked for', () => {
  test('of one lane, told twice, holds up no other', () => {
    const { lanes, a, b } = createLanes()
    lanes.wait(a, serverWait(100))
    lanes.wait(a, serverWait(200))
    expect(lanes.retryAt(b)).toBeNull()
  })

  test('of a second lane holds up no third one, if the server has taken something between', () => {
    const { lanes, a, b, c } = createLanes()
    lanes.wait(a, serverWait(100))
    lanes.succeeded(c)
    lanes.wait(b, serverWait(100))
    expect(lanes.retryAt(c)).toBeNull()
  })

  test('of all lanes ends no earlier because a shorter one follows, and later because of a longer one', () => {
    const { lanes, a } = createLanes()
    for (const [delay, expected] of [
      [200, 200],
      [100, 200],
      [300, 300],
    ] as const) {
      lanes.waitAll(serverWait(delay))
      expect(lanes.retryAt(a)).toBe(NOW + expected)
    }
  })
})

describe('I15: what is waited for', () => {
  test.each([[[100, 300, 200]], [[300, 100, 200]], [[300, 200, 100]]])(
    'is the end of the first wait, whichever lane began: %j',
    (delays) => {
      const { lanes, messages } = createLanes()
      for (const [index, { lane }] of messages.entries()) lanes.wait(lane, ownWait(delays[index] as number))
      expect([lanes.firstWait?.until, lanes.nextAt]).toEqual([NOW + 100, NOW + 100])
    },
  )

  test('is the end of the wait of all, if that is the first', () => {
    const { lanes, a } = createLanes()
    lanes.wait(a, ownWait(300))
    const all = serverWait(100)
    lanes.waitAll(all)
    expect(lanes.firstWait).toBe(all)
    expect(lanes.nextAt).toBe(NOW + 100)
  })

  test('is no wait of a lane without a message, though it ends first', () => {
    const { lanes, messages, a, b } = createLanes()
    lanes.wait(a, ownWait(100))
    lanes.wait(b, serverWait(50))
    lanes.leave(messages[1])
    expect(lanes.nextAt).toBe(NOW + 100)
  })

  test('is nothing, for a lane that need not wait', () => {
    const { lanes, a, b } = createLanes()
    lanes.wait(a, ownWait(100))
    expect(lanes.retryAt(b)).toBeNull()
  })

  test.each([
    [100, 200],
    [300, 200],
  ])('is the later end, where a lane waits %i ms and all wait %i ms', (own, all) => {
    const { lanes, a } = createLanes()
    lanes.wait(a, ownWait(own))
    lanes.waitAll(serverWait(all))
    expect(lanes.retryAt(a)).toBe(NOW + Math.max(own, all))
  })

  test('I9: ends as much earlier as the clock was set back, once where lanes share a wait, that of all too', () => {
    const { lanes, a, b } = createLanes()
    const shared = ownWait(300)
    const all = serverWait(500)
    for (const lane of [a, b]) lanes.wait(lane, shared)
    lanes.waitAll(all)
    lanes.setBack(100)
    expect([shared.until, all.until]).toEqual([NOW + 200, NOW + 400])
  })
})

describe('a lane', () => {
  test('with nothing in it is forgotten', () => {
    const { lanes, messages, a } = createLanes()
    lanes.leave(messages[0])
    expect(lanes.get('a')).not.toBe(a)
  })

  test('I4: that was forgotten, and whose wait ends late, does not take its successor along', () => {
    const { lanes, messages, a } = createLanes()
    lanes.leave(messages[0])
    // A batch that carried the message is answered now.
    lanes.wait(a, ownWait(100))
    const successor = lanes.get('a')
    lanes.enter(createMessage(successor), 'last')
    lanes.wake(NOW + 100)
    expect(lanes.get('a')).toBe(successor)
  })

  test('of its own carries all switches, whichever sessions they name: they stay in order', () => {
    const names = ['s1', 's2'].map((sessionId) => laneName({ type: 'switch_session', sessionId }))
    expect(new Set(names).size).toBe(1)
    expect(names).not.toContain(laneName({ type: 'send', sessionId: 's1' }))
  })

  test('of the messages without a session has the empty name, also on the wire', () => {
    expect(laneName({ type: 'send' })).toBe('')
  })
})

describe('a queue', () => {
  const contents = (queue: Queue<string>) => [...queue].join('')

  test('keeps what is put first before all, and what is put last behind all', () => {
    const queue = new Queue<string>()
    queue.push('b')
    const a = queue.unshift('a')
    queue.push('c')
    queue.unshift('z')
    expect(contents(queue)).toBe('zabc')
    queue.remove(a)
    expect(contents(queue)).toBe('zbc')
  })

  test.each(['a', 'b', 'c'])('goes on without %s, at both ends', (gone) => {
    const queue = new Queue<string>()
    const nodes = [...'abc'].map((value) => queue.push(value))
    queue.remove(nodes['abc'.indexOf(gone)] as (typeof nodes)[number])
    queue.push('d')
    queue.unshift('z')
    expect(contents(queue)).toBe(`z${'abc'.replace(gone, '')}d`)
  })

  test('that has become empty can be filled again', () => {
    const queue = new Queue<string>()
    queue.remove(queue.push('a'))
    queue.push('b')
    queue.push('c')
    expect(contents(queue)).toBe('bc')
  })
})
