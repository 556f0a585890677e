import { describe, expect, test } from 'vitest'
import { type AnyMachineSnapshot, type EventObject, initialTransition, transition } from 'xstate'
import { tabMachine } from '../../tabs/tabMachine'
import type { TabEvent, TabInput, TabRole, Told } from '../../tabs/types'
import { labelOf, transitionsOf } from '../../testing/walk/plan'
import { shapeFaults } from '../support/shape'

const EVENTS = Object.keys({
  'stream.wanted': 1,
  'stream.unwanted': 1,
  leave: 1,
  end: 1,
  'page.shown': 1,
  'page.hidden': 1,
  'page.left': 1,
  'page.back': 1,
  'lock.granted': 1,
  'lock.lost': 1,
  'lock.failed': 1,
  'leader.told': 1,
  'leader.silent': 1,
  'leader.ceded': 1,
  'tab.wanted': 1,
  'tab.ended': 1,
  'join.proved': 1,
  'join.refused': 1,
  'join.failed': 1,
  'frames.lost': 1,
  'line.unfit': 1,
} satisfies Record<TabEvent['type'], 1>)
const ROLES: readonly TabRole[] = ['apart', 'electing', 'following', 'leading', 'own', 'away']

const NOW = 1_000_000
const INPUT: TabInput = { tab: 'm', standing: 'visible', now: () => NOW, random: () => 0.5 }

const told = (more: Partial<Told> = {}): TabEvent => ({
  type: 'leader.told',
  tab: 'b',
  term: 7,
  standing: 'visible',
  line: 'c1',
  fitness: 'fit',
  ...more,
})
const wanted: TabEvent = { type: 'stream.wanted' }
const unwanted: TabEvent = { type: 'stream.unwanted' }
const granted: TabEvent = { type: 'lock.granted' }
const proved: TabEvent = { type: 'join.proved' }
const hidden: TabEvent = { type: 'page.hidden' }
const timer = (name: string, state: string): EventObject => ({
  type: `xstate.after.${name}.${state.includes('.') ? `tabs.active.present.${state}` : state}`,
})
const hailed = timer('hailTimeout', 'electing.hailing')

type Snapshot = ReturnType<typeof walk>
const step = (snapshot: Snapshot, event: EventObject) => transition(tabMachine, snapshot, event as TabEvent)
const walk = (events: readonly EventObject[], input = INPUT) => {
  let [snapshot] = initialTransition(tabMachine, input)
  for (const event of events) [snapshot] = transition(tabMachine, snapshot, event as TabEvent)
  return snapshot
}
const pathOf = (value: unknown): string =>
  typeof value === 'string'
    ? value
    : String(Object.entries(value as object).map(([key, rest]) => `${key}.${pathOf(rest)}`))
/** Without the words that go without saying. */
const placeOf = ({ value }: { readonly value: unknown }) => pathOf(value).replace(/^active\.(present\.)?/, '')

test('the machine is in house style', () => {
  expect(shapeFaults(tabMachine, { events: EVENTS, tags: ROLES })).toEqual([])
})

const FOLLOWING = [wanted, told({ line: null })]
const JOINING = [wanted, told()]
const JOINED = [...JOINING, proved]
const LEADING = [wanted, granted]
const WANTED: TabEvent = { type: 'tab.wanted', tab: 'b', standing: 'visible' }
const OWN = [...JOINING, told({ fitness: 'unfit' })]
const OWN_FOR_LONG = [...OWN, { type: 'xstate.after.shareDelay.tabs.active.own.settled' }]
const HANDING_OVER = [...LEADING, hidden, WANTED]

describe('where each event leads', () => {
  test.each<[string, readonly EventObject[], EventObject, string]>([
    ['a connection that wants a stream asks who leads', [], wanted, 'electing.hailing'],
    ['a leader that answers is followed: its line has to be proved', [wanted], told(), 'following.joining.proving'],
    ['a leader without a line is waited for', [wanted], told({ line: null }), 'following.waiting'],
    ['a proof joins', JOINING, proved, 'following.joined'],
    [
      'a stream that is unknown to this tab is doubted',
      JOINING,
      { type: 'join.refused' },
      'following.joining.doubtful',
    ],
    [
      'so is one that brings no answer',
      JOINING,
      timer('joinTimeout', 'following.joining.proving'),
      'following.joining.doubtful',
    ],
    [
      'a proof that comes late ends it',
      [...JOINING, timer('joinTimeout', 'following.joining.proving')],
      proved,
      'following.joined',
    ],
    [
      'and wakes a connection that has given up waiting meanwhile',
      [...JOINING, timer('joinTimeout', 'following.joining.proving'), unwanted],
      proved,
      'following.waiting',
    ],
    [
      'a new line ends the doubt',
      [...JOINING, { type: 'join.refused' }],
      told({ line: 'c2' }),
      'following.joining.proving',
    ],
    [
      'doubt that lasts is a line of its own',
      [...JOINING, { type: 'join.refused' }],
      timer('doubtTimeout', 'following.joining.doubtful'),
      'own.settled',
    ],
    [
      'no less if the connection gives up waiting meanwhile',
      [...JOINING, { type: 'join.refused' }, unwanted, wanted],
      timer('doubtTimeout', 'following.joining.doubtful'),
      'own.settled',
    ],
    ['a POST that fails is for the connection to repeat', JOINING, { type: 'join.failed' }, 'following.waiting'],
    [
      'the connection opens another stream: it is proved anew',
      [...JOINED, unwanted],
      wanted,
      'following.joining.proving',
    ],
    ['a line that goes down is waited for', JOINED, told({ line: null }), 'following.waiting'],
    ['another line is another stream', JOINED, told({ line: 'c2' }), 'following.waiting'],
    ['a gap in the relay ends the stream', JOINED, { type: 'frames.lost' }, 'following.waiting'],
    ['a word of an older term is ignored', JOINED, told({ term: 6, tab: 'x', line: 'c9' }), 'following.joined'],
    ['a word of another tab in the same term is ignored', JOINED, told({ tab: 'a', line: 'c9' }), 'following.joined'],
    ['a newer leader is followed', JOINED, told({ term: 8, tab: 'x', line: null }), 'following.waiting'],
    ['a leader that is silent is asked', JOINED, { type: 'leader.silent' }, 'electing.hailing'],
    ['the lock makes a leader', JOINED, granted, 'leading.keeping'],
    ['a visible tab steals from a leader that does not answer', [wanted], hailed, 'electing.stealing'],
    ['a hidden tab does not', [wanted, hidden], hailed, 'electing.hailing'],
    ['nobody steals twice within a minute', [wanted, hailed, granted, { type: 'lock.lost' }], hailed, 'own.settled'],
    ['a lock that is not given is done without', [wanted, hailed], timer('stealTimeout', 'stealing'), 'own.settled'],
    ['who makes room is relieved', FOLLOWING, { type: 'leader.ceded' }, 'electing.stealing'],
    ['a hidden leader makes room for a visible tab', HANDING_OVER.slice(0, -1), WANTED, 'leading.handingOver'],
    [
      'a hidden leader does not for a hidden tab',
      HANDING_OVER.slice(0, -1),
      { type: 'tab.wanted', tab: 'b', standing: 'hidden' } as TabEvent,
      'leading.keeping',
    ],
    [
      'a visible leader does for a worker only',
      LEADING,
      { type: 'tab.wanted', tab: 'b', standing: 'visible' } as TabEvent,
      'leading.keeping',
    ],
    [
      'a worker outranks every page',
      LEADING,
      { type: 'tab.wanted', tab: 'b', standing: 'worker' } as TabEvent,
      'leading.handingOver',
    ],
    [
      'an heir that does not come is not waited for',
      HANDING_OVER,
      timer('handOverTimeout', 'leading.handingOver'),
      'leading.keeping',
    ],
    ['a leader whose lock was stolen asks who leads', LEADING, { type: 'lock.lost' }, 'electing.hailing'],
    ['a leader that hears of a newer one follows', LEADING, told({ term: 2_000_000 }), 'following.joining.proving'],
    ['a leader that hears of an older one leads', LEADING, told({ term: 7 }), 'leading.keeping'],
    ['a page that freezes lets go', LEADING, { type: 'page.left' }, 'away'],
    ['and asks when it is back', [...LEADING, { type: 'page.left' }], { type: 'page.back' }, 'electing.hailing'],
    ['a server that lacks what sharing takes is not shared', LEADING, { type: 'line.unfit' }, 'own.settled'],
    ['followers do not either', JOINING, told({ fitness: 'unfit' }), 'own.settled'],
    ['without a lock a tab is alone', [wanted], { type: 'lock.failed', error: 1 } as TabEvent, 'own.settled'],
    ['a line of its own that ends soon is opened anew', OWN, unwanted, 'own.settled'],
    ['one that ends after a minute is a chance to share', OWN_FOR_LONG, unwanted, 'electing.hailing'],
    [
      'the leader that it knew may lead it then',
      [...OWN_FOR_LONG, unwanted, wanted],
      told(),
      'following.joining.proving',
    ],
    ['a connection that is idle leaves', JOINED, { type: 'leave' }, 'apart'],
  ])('%s', (_, path, event, leads) => {
    expect(placeOf(step(walk(path), event)[0])).toBe(leads)
  })

  test('a term is above every one that was heard, and not below the clock', () => {
    expect(walk(LEADING).context.term).toBe(NOW)
    expect(walk([wanted, told({ term: 2 * NOW }), granted]).context.term).toBe(2 * NOW + 1)
  })

  test('a better tab says so when the leader speaks', () => {
    const [, effects] = step(walk(JOINED), told({ standing: 'hidden' }))
    expect(effects.map(({ type }) => type)).toContain('xstate.sendTo')
    const [, none] = step(walk(JOINED), told())
    expect(none).toEqual([])
  })

  test('a worker stays one, however its page is', () => {
    expect(walk([wanted, hidden], { ...INPUT, standing: 'worker' }).context.standing).toBe('worker')
  })
})

describe('the walk over the machine', () => {
  const timers = [...new Set(transitionsOf(tabMachine).map(({ eventType }) => eventType))].filter((type) =>
    type.startsWith('xstate.'),
  )
  const moves = (snapshot: Snapshot): readonly EventObject[] => {
    const { term } = snapshot.context
    const variants: Partial<Told>[] = [
      {},
      { line: null },
      { line: 'c2' },
      { standing: 'hidden' },
      { fitness: 'unfit' },
      { tab: 'a' },
    ]
    return [
      ...EVENTS.filter((type) => !['leader.told', 'tab.wanted'].includes(type)).map((type) => ({ type, error: 1 })),
      ...variants.flatMap((more) => [told({ term: term + 1, ...more }), told({ term, ...more })]),
      ...(['hidden', 'visible', 'worker'] as const).map((standing) => ({ type: 'tab.wanted', tab: 'b', standing })),
      ...timers.map((type) => ({ type, error: 1 })),
    ]
  }
  const identify = ({ value, context }: Snapshot) => {
    const { leader, line, stream, standing, stolenAt } = context
    return JSON.stringify([value, leader, line, stream, standing, stolenAt === NOW])
  }

  const covered = new Set<string>()
  const known = new Map<string, Snapshot>()
  for (const input of [INPUT, { ...INPUT, standing: 'hidden' as const }]) {
    const [initial] = initialTransition(tabMachine, input)
    const queue = [initial]
    for (const snapshot of queue) {
      const identity = identify(snapshot)
      if (known.has(identity)) continue
      known.set(identity, snapshot)
      for (const event of moves(snapshot)) {
        const taken = tabMachine.getTransitionData(snapshot as never, event as never)
        // A timer, or an actor, that is not there in this state.
        if (!taken.length) continue
        for (const transition of taken) covered.add(labelOf(transition))
        queue.push(step(snapshot, event)[0])
      }
    }
  }
  const states = [...known.values()]

  test('every transition of the chart is taken', () => {
    const all = transitionsOf(tabMachine).map(labelOf)
    expect(all.filter((label) => !covered.has(label))).toEqual([])
    expect(known.size).toBeGreaterThan(100)
  })

  const childrenOf = (snapshot: Snapshot) => Object.keys((snapshot as AnyMachineSnapshot).children).sort()

  test('one stream at most, and only where it says so', () => {
    for (const snapshot of states) {
      const streams = childrenOf(snapshot).filter((id) => ['line', 'relay', 'ownLine'].includes(id))
      const place = placeOf(snapshot)
      const expected = {
        'leading.keeping': 'line',
        'following.joined': 'relay',
        'own.settled': 'ownLine',
        'own.due': 'ownLine',
      }[place]
      expect([place, streams]).toEqual([place, expected ? [expected] : []])
    }
  })

  test('from everywhere `leave` leads to a tab that holds nothing', () => {
    for (const snapshot of states) {
      const [next] = placeOf(snapshot) === 'apart' ? [snapshot] : step(snapshot, { type: 'leave' })
      expect([placeOf(snapshot), placeOf(next), childrenOf(next)]).toEqual([placeOf(snapshot), 'apart', []])
    }
  })

  test('a page that is away holds no lock and no channel', () => {
    for (const snapshot of states) {
      const isPresent = snapshot.matches({ active: 'present' } as never)
      expect([placeOf(snapshot), childrenOf(snapshot).includes('lock')]).toEqual([placeOf(snapshot), isPresent])
      expect(childrenOf(snapshot).includes('channel')).toBe(isPresent)
    }
  })

  test('whoever is present leads once it has the lock, and nobody is led by a term that is over', () => {
    for (const snapshot of states) {
      if (!snapshot.matches({ active: 'present' } as never) || snapshot.hasTag('leading')) continue
      const [leading] = step(snapshot, granted)
      expect(placeOf(leading)).toBe('leading.keeping')
      expect(leading.context.term).toBeGreaterThan(snapshot.context.term)
    }
  })
})
