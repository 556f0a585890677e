import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type PageScope, type PageSignal, pageLifecycle } from '../../adapters'
import { fakeClock } from '../../testing/harness/fakeClock'

type Listener = (event: Event) => void

/** An EventTarget that can be counted. */
function fakeTarget() {
  const listeners: { readonly type: string; readonly listener: Listener }[] = []
  return {
    addEventListener(type: string, listener: Listener) {
      listeners.push({ type, listener })
    },
    removeEventListener(type: string, listener: Listener) {
      const index = listeners.findIndex((other) => other.type === type && other.listener === listener)
      if (index >= 0) listeners.splice(index, 1)
    },
    fire(type: string, fields: object = {}) {
      const event = Object.assign(new Event(type), fields)
      for (const heard of listeners.filter((other) => other.type === type)) heard.listener(event)
    },
    get listeners() {
      return listeners.length
    },
  }
}

function openPage({ visibility = 'visible' as DocumentVisibilityState } = {}) {
  const clock = fakeClock()
  const page = fakeTarget()
  const document = Object.assign(fakeTarget(), { visibilityState: visibility })
  const scope = Object.assign(page, { document }) as unknown as PageScope
  const signals: PageSignal[] = []
  const unsubscribe = pageLifecycle(clock, scope).subscribe((signal) => signals.push(signal))
  const turn = (visibilityState: DocumentVisibilityState) => {
    document.visibilityState = visibilityState
    document.fire('visibilitychange')
  }
  return {
    clock,
    signals,
    unsubscribe,
    hide: () => turn('hidden'),
    show: () => turn('visible'),
    freeze: () => document.fire('freeze'),
    pagehide: () => page.fire('pagehide', { persisted: true }),
    pageshow: (persisted: boolean) => page.fire('pageshow', { persisted }),
    offline: () => page.fire('offline'),
    online: () => page.fire('online'),
    beforeunload: () => page.fire('beforeunload'),
    take: () => signals.splice(0),
    get listeners() {
      return page.listeners + document.listeners
    },
  }
}
const SUSPEND: PageSignal = { type: 'suspend' }
const RECONNECT: PageSignal = { type: 'reconnect' }
const wake = (awayFor: number): PageSignal => ({ type: 'wake', awayFor })

describe('a page that goes away', () => {
  test.each(['hide', 'pagehide', 'freeze'] as const)('by %s alone tells suspend at once', (way) => {
    const page = openPage()
    page[way]()
    expect(page.signals).toEqual([SUSPEND])
  })

  test('tells one suspend for hidden, pagehide and freeze, whatever their order and number', () => {
    const anyWays = fc.array(fc.constantFrom('hide', 'pagehide', 'freeze'), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(anyWays, (ways) => {
        const page = openPage()
        for (const way of ways) page[way]()
        expect(page.signals).toEqual([SUSPEND])
      }),
    )
  })

  test('tells another suspend each time it goes away again', () => {
    const page = openPage()
    for (let count = 0; count < 3; count += 1) {
      page.hide()
      page.pagehide()
      page.show()
    }
    expect(page.signals.map(({ type }) => type)).toEqual(['suspend', 'wake', 'suspend', 'wake', 'suspend', 'wake'])
  })
})

describe('a page that comes back', () => {
  test('wakes the line and says how long it was away', () => {
    const page = openPage()
    page.hide()
    page.clock.sleep(42_000)
    page.show()
    expect(page.signals).toEqual([SUSPEND, wake(42_000)])
  })

  test('was away since the first sign of it, not since the last', () => {
    const page = openPage()
    page.hide()
    page.clock.sleep(10_000)
    page.freeze()
    page.clock.sleep(10_000)
    page.show()
    expect(page.take().at(-1)).toEqual(wake(20_000))
  })

  test('counts anew each time', () => {
    const page = openPage()
    page.hide()
    page.clock.sleep(60_000)
    page.show()
    page.hide()
    page.clock.sleep(1_000)
    page.show()
    expect(page.take().at(-1)).toEqual(wake(1_000))
  })

  test('after it was loaded in the background was away since then', () => {
    const page = openPage({ visibility: 'hidden' })
    page.clock.sleep(5_000)
    page.show()
    expect(page.signals).toEqual([wake(5_000)])
  })

  test('from the back/forward cache reconnects: whatever was open is dead', () => {
    const page = openPage()
    page.pagehide()
    page.clock.sleep(60_000)
    page.pageshow(true)
    expect(page.signals).toEqual([SUSPEND, RECONNECT])
    page.hide()
    expect(page.take().at(-1)).toEqual(SUSPEND)
  })

  test('by an ordinary load does not reconnect', () => {
    const page = openPage()
    page.pageshow(false)
    expect(page.signals).toEqual([])
  })
})

describe('a network that comes back', () => {
  test('wakes the line and says how long it was gone', () => {
    const page = openPage()
    page.offline()
    expect(page.signals).toEqual([])
    page.clock.sleep(7_000)
    page.online()
    expect(page.signals).toEqual([wake(7_000)])
  })

  test('without having been gone wakes it all the same, and counts anew each time', () => {
    const page = openPage()
    page.online()
    page.offline()
    page.clock.sleep(7_000)
    page.online()
    page.online()
    expect(page.signals).toEqual([wake(0), wake(7_000), wake(0)])
  })
})

describe('C24: a clock that jumps', () => {
  test('while the page is visible wakes the line at the first chance, once, and says how far', () => {
    const page = openPage()
    page.clock.sleep(65_000)
    expect(page.signals).toEqual([])
    page.clock.advance(0)
    expect(page.signals).toEqual([wake(60_000)])
    page.clock.advance(60_000)
    expect(page.signals).toHaveLength(1)
  })

  test('while the page is visible is noticed again the next time', () => {
    const page = openPage()
    for (let count = 0; count < 3; count += 1) {
      page.clock.sleep(65_000)
      page.clock.advance(0)
    }
    expect(page.signals).toEqual([wake(60_000), wake(60_000), wake(60_000)])
  })

  test('while the page is hidden says nothing: its timers are throttled', () => {
    const page = openPage()
    page.hide()
    for (let count = 0; count < 3; count += 1) {
      page.clock.sleep(65_000)
      page.clock.advance(0)
    }
    expect(page.signals).toEqual([SUSPEND])
  })

  test('by hand, or in a sleep that the timers slept through, is noticed with the next look', () => {
    const page = openPage()
    page.clock.set(65_000)
    page.clock.advance(5_000)
    expect(page.signals).toEqual([wake(65_000)])
  })

  test('by a little is no jump, and neither is time that passes', () => {
    const page = openPage()
    page.clock.sleep(10_000)
    page.clock.advance(0)
    page.clock.advance(600_000)
    expect(page.signals).toEqual([])
  })

  test('backwards is no jump', () => {
    const page = openPage()
    page.clock.set(-3_600_000)
    page.clock.advance(5_000)
    expect(page.signals).toEqual([])
  })

  test('backwards while the page is hidden makes no negative absence', () => {
    const page = openPage()
    page.hide()
    page.clock.set(-3_600_000)
    page.show()
    expect(page.take().at(-1)).toEqual(wake(0))
  })
})

describe('C112: a navigation that stays on the page', () => {
  const DOUBT = wake(Number.POSITIVE_INFINITY)

  test('wakes the line a second later: what was open may be dead, and no engine says so', () => {
    const page = openPage()
    page.beforeunload()
    page.clock.advance(999)
    expect(page.signals).toEqual([])
    page.clock.advance(1)
    expect(page.signals).toEqual([DOUBT])
    page.clock.advance(60_000)
    expect(page.signals).toHaveLength(1)
  })

  test('wakes it once for several in a second, and again for a later one', () => {
    const page = openPage()
    for (const pause of [500, 500, 5_000, 5_000]) {
      page.beforeunload()
      page.clock.advance(pause)
    }
    expect(page.signals).toEqual([DOUBT, DOUBT])
  })

  test('that leaves it after all wakes nothing', () => {
    const page = openPage()
    page.beforeunload()
    page.pagehide()
    page.clock.advance(60_000)
    expect(page.signals).toEqual([SUSPEND])
  })

  test('leaves a page that was hidden meanwhile in doubt all the same', () => {
    const page = openPage()
    page.beforeunload()
    page.hide()
    page.clock.advance(1_000)
    expect(page.signals).toEqual([SUSPEND, DOUBT])
  })

  test('I8: is forgotten with the subscription', () => {
    const page = openPage()
    page.beforeunload()
    page.unsubscribe()
    expect(page.clock.pending).toEqual([])
  })
})

describe('unsubscribing', () => {
  test('I8: removes every listener and the timer, and nothing is told any more', () => {
    const page = openPage()
    expect(page.listeners).toBe(7)
    expect(page.clock.pending).toHaveLength(1)
    page.hide()
    page.clock.advance(30_000)
    page.take()

    page.unsubscribe()
    expect(page.listeners).toBe(0)
    expect(page.clock.pending).toEqual([])
    page.show()
    page.pageshow(true)
    page.online()
    page.clock.sleep(65_000)
    page.clock.advance(60_000)
    expect(page.signals).toEqual([])
  })

  test('leaves other subscribers alone', () => {
    const clock = fakeClock()
    const target = fakeTarget()
    const lifecycle = pageLifecycle(clock, target as unknown as PageScope)
    const heard: string[] = []
    const one = lifecycle.subscribe(() => heard.push('one'))
    lifecycle.subscribe(() => heard.push('other'))
    one()
    target.fire('online')
    expect(heard).toEqual(['other'])
  })

  test('in the middle of a signal is safe, also when it is a jump of the clock', () => {
    const clock = fakeClock()
    let count = 0
    const unsubscribe = pageLifecycle(clock, {}).subscribe(() => {
      count += 1
      unsubscribe()
    })
    clock.sleep(65_000)
    clock.advance(0)
    clock.sleep(65_000)
    clock.advance(60_000)
    expect([count, clock.pending]).toEqual([1, []])
  })
})

describe('a scope that is no page', () => {
  test('without a document has its network and its clock', () => {
    const clock = fakeClock()
    const worker = fakeTarget()
    const signals: PageSignal[] = []
    const unsubscribe = pageLifecycle(clock, worker as unknown as PageScope).subscribe((signal) => signals.push(signal))
    worker.fire('online')
    clock.sleep(65_000)
    clock.advance(0)
    expect(signals).toEqual([wake(0), wake(60_000)])
    unsubscribe()
    expect([worker.listeners, clock.pending]).toEqual([0, []])
  })

  test('without addEventListener has its clock', () => {
    const clock = fakeClock()
    const signals: PageSignal[] = []
    const unsubscribe = pageLifecycle(clock, {}).subscribe((signal) => signals.push(signal))
    clock.sleep(65_000)
    clock.advance(0)
    expect(signals).toEqual([wake(60_000)])
    unsubscribe()
    expect(clock.pending).toEqual([])
  })

  test('like Node is what it works in by default', () => {
    const clock = fakeClock()
    const unsubscribe = pageLifecycle(clock).subscribe(() => {})
    expect(clock.pending).toHaveLength(1)
    unsubscribe()
    expect(clock.pending).toEqual([])
  })
})
