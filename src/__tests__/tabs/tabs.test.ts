import { fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { createInspector, formatTrace, type InspectorEvent, replayTrace, type Trace } from 'holdline/inspect'
import { memoryLog } from 'holdline/server'
import { createSharedConnection } from 'holdline/tabs'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Cursor, Feature } from '../../protocol'
import { connectAll, FakeBrowser, type FakeTab, range, type TabOptions } from './browser'

const browsers: FakeBrowser[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const browser of browsers.splice(0)) await browser.end()
})
function createBrowser(...options: ConstructorParameters<typeof FakeBrowser>) {
  const browser = new FakeBrowser(...options)
  browsers.push(browser)
  return browser
}

/** Its server does not announce the feature. */
function lacking(feature: Feature) {
  const browser = createBrowser()
  const { fetch } = browser.server
  browser.server.fetch = async (request) => {
    const response = await fetch(request)
    if (!request.url.endsWith('/events') || !response.body) return response
    const decoder = new TextDecoder()
    const encoder = new TextEncoder()
    const plain = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) =>
        controller.enqueue(
          encoder.encode(decoder.decode(chunk).replace(new RegExp(`,"${feature}"|"${feature}",`), '')),
        ),
    })
    return new Response(response.body.pipeThrough(plain), response)
  }
  return browser
}

/** Its server detaches the sessions that a page suspends. */
function detaching() {
  const browser = lacking('suspend-keeps')
  const { fetch } = browser.server
  browser.server.fetch = async (request) => {
    const { url, headers } = request
    if (!url.endsWith('/suspend')) return fetch(request)
    const { sessions } = (await request.clone().json()) as { sessions: readonly Cursor[] }
    const answer = await fetch(request)
    for (const { sessionId } of sessions) {
      const body = JSON.stringify({ type: 'unwatch', sessionId })
      await fetch(new Request(url.replace('suspend', 'unwatch'), { method: 'POST', headers, body }))
    }
    return answer
  }
  return browser
}

/** So many tabs that share a line and watch `s1`; the first one leads. */
async function sharing(count: number, options: TabOptions = {}, browser = createBrowser()) {
  const tabs: FakeTab[] = []
  for (let index = 0; index < count; index++) {
    const tab = browser.open(options)
    tab.connection.watch('s1')
    tab.connection.connect()
    tabs.push(tab)
    await browser.share(...tabs)
  }
  return { browser, tabs: tabs as [FakeTab, FakeTab, FakeTab], live: tabs }
}

const hears = (browser: FakeBrowser, seqs: readonly number[], ...tabs: readonly FakeTab[]) =>
  browser.reaches(
    () => tabs.every((tab) => JSON.stringify(tab.seqs('s1')) === JSON.stringify(seqs)),
    `${seqs} in ${tabs.map((tab) => `${tab.name} ${tab.seqs('s1')}`)}`,
  )

const publish = async (browser: FakeBrowser, count: number, sessionId = 's1') => {
  for (let index = 0; index < count; index++) await browser.publish(sessionId, 'x')
}

describe('one stream for all tabs', () => {
  test('eight tabs hold one stream, and each hears every event once', async () => {
    const { browser, live } = await sharing(8)
    await publish(browser, 5)
    await hears(browser, range(1, 5), ...live)
    expect(browser.streams.size).toBe(1)
    expect(browser.requests.filter((request) => request.endsWith(' events'))).toEqual(['tab1 events'])
  })

  test('a tab that joins late gets its own replay, and the others hear nothing twice', async () => {
    const { browser, tabs } = await sharing(2)
    await publish(browser, 20)
    await hears(browser, range(1, 20), tabs[0], tabs[1])
    const late = browser.open()
    late.connection.watch('s1', { after: 5 })
    late.connection.connect()
    await hears(browser, range(6, 20), late)
    await publish(browser, 1)
    await hears(browser, range(6, 21), late)
    await hears(browser, range(1, 21), tabs[0], tabs[1])
    expect(browser.requests.filter((request) => request.endsWith(' events'))).toHaveLength(1)
    expect([tabs[0].errors, late.errors]).toEqual([[], []])
  })

  test('a tab joins as fast as it would open a stream of its own', async () => {
    const { browser, tabs } = await sharing(1)
    await publish(browser, 5)
    await hears(browser, range(1, 5), tabs[0])
    browser.latency = 50
    const timeOf = (mode: 'auto' | 'own') => {
      const tab = browser.open({ mode })
      tab.connection.watch('s1')
      tab.connection.connect()
      return browser.reaches(() => tab.seqs('s1').length === 5, `5 events (${mode})`, 1_000, 5)
    }
    const own = await timeOf('own')
    expect(await timeOf('auto')).toBeLessThanOrEqual(1.2 * own)
  })

  test('a tab hears the sessions that it asked for, and those that it posts to', async () => {
    const { browser, tabs } = await sharing(2)
    tabs[1].connection.watch('s2')
    const { settled } = tabs[1].connection.send({ type: 'send', sessionId: 's3', prompt: 'hi' })
    await browser.reaches(() => tabs[1].received.some(({ sessionId }) => sessionId === 's3'), 'the echo')
    await publish(browser, 1, 's2')
    await browser.reaches(() => tabs[1].received.some(({ sessionId }) => sessionId === 's2'), 's2')
    await publish(browser, 1)
    await hears(browser, [1], tabs[0], tabs[1])
    expect(tabs[0].received.map(({ sessionId }) => sessionId)).toEqual(['s1'])
    expect((await settled).status).toBe('accepted')
  })

  test('each tab posts for itself, in its order, and gets its own verdicts', async () => {
    const { browser, live } = await sharing(3)
    const sent = live.flatMap(({ name, connection }) =>
      range(1, 10).map((index) => connection.send({ type: 'send', sessionId: 's2', prompt: `${name} ${index}` })),
    )
    const verdicts: string[] = []
    for (const { settled } of sent) void settled.then(({ status }) => verdicts.push(status))
    await browser.reaches(() => verdicts.length === sent.length, 'all verdicts')
    expect(new Set(verdicts)).toEqual(new Set(['accepted']))
    for (const { name } of live) {
      const own = browser.commands.map(({ message }) => String(message.prompt)).filter((text) => text.startsWith(name))
      expect(own).toEqual(range(1, 10).map((index) => `${name} ${index}`))
    }
    expect(new Set(browser.requests.filter((one) => /batch|send/.test(one)).map((one) => one.split(' ')[0])).size).toBe(
      3,
    )
  })

  test('a tab that leaves a session does not silence the others', async () => {
    const { browser, tabs } = await sharing(2)
    tabs[0].connection.unwatch('s1')
    await browser.passes(100)
    await publish(browser, 1)
    await hears(browser, [1], tabs[1])
    expect(tabs[0].received).toEqual([])
    tabs[1].connection.unwatch('s1')
    await browser.reaches(() => browser.requests.some((request) => request.endsWith('unwatch')), 'the last one leaves')
  })

  test('a reset of one tab’s cursor is not the others’', async () => {
    const short = createBrowser({}, memoryLog({ maxEvents: 10, clock: { now: () => 0 } }))
    const good = short.open()
    good.connection.watch('s1', { after: 'head' })
    good.connection.connect()
    await short.share(good)
    await publish(short, 30)
    await hears(short, range(1, 30), good)
    const old = short.open({ cursors: [{ sessionId: 's1', lastSeq: 3 }] })
    old.connection.connect()
    await short.share(good, old)
    await short.reaches(() => old.log.includes('s1 reset 20-30'), 'the reset')
    await publish(short, 2)
    await hears(short, [31, 32], old)
    await hears(short, range(1, 32), good)
    expect(good.log.filter((line) => line.includes('reset'))).toEqual([])
  })

  test('the server is told that the page goes away when the last tab sleeps, and not before', async () => {
    const asleep: string[] = []
    const browser = createBrowser({
      onSuspend: ({ sessions }) => void asleep.push(...sessions.map(({ sessionId }) => sessionId)),
    })
    const { tabs } = await sharing(2, {}, browser)
    tabs[0].connection.suspend()
    await browser.passes(200)
    expect(asleep).toEqual([])
    tabs[1].connection.suspend()
    await browser.reaches(() => asleep.length > 0, 'the suspend')
    expect(asleep).toEqual(['s1'])
  })

  test('a tab that comes back attaches what a suspend has detached, though it has missed nothing', async () => {
    const { browser, tabs } = await sharing(2, {}, detaching())
    for (const { connection } of tabs) connection.suspend()
    await browser.reaches(() => browser.requests.some((request) => request.endsWith(' suspend')), 'the suspend')
    await browser.passes(100)
    const before = browser.requests.length
    tabs[1].connection.wake()
    await browser.reaches(() => browser.requests.slice(before).includes('tab1 reconnect'), 'a resume')
    await publish(browser, 1)
    await hears(browser, [1], tabs[1])
  })
})

describe('the leader goes', () => {
  test.each(['close', 'crash'] as const)('%s: another tab leads within a second, and nothing is lost', async (how) => {
    const { browser, tabs } = await sharing(3)
    await publish(browser, 3)
    await hears(browser, range(1, 3), ...tabs)
    tabs[0][how]()
    await publish(browser, 2)
    expect(await browser.share(tabs[1], tabs[2])).toBeLessThanOrEqual(1_000)
    await publish(browser, 2)
    await hears(browser, range(1, 7), tabs[1], tabs[2])
    expect(tabs[1].log.filter((line) => !line.startsWith('s1'))).toEqual(['opened', 'closed failed', 'opened'])
  })

  test('disconnect in the leading tab ends that tab’s part only', async () => {
    const { browser, tabs } = await sharing(2)
    tabs[0].connection.disconnect()
    expect(await browser.share(tabs[1])).toBeLessThanOrEqual(1_000)
    expect([tabs[0].role, tabs[0].connection.phase]).toEqual(['apart', 'idle'])
    await publish(browser, 1)
    await hears(browser, [1], tabs[1])
  })

  test('`disconnects: all` ends it in every tab', async () => {
    const { browser, tabs } = await sharing(3, { disconnects: 'all' })
    tabs[1].connection.disconnect()
    await browser.reaches(() => tabs.every(({ connection }) => connection.phase === 'idle'), 'all idle')
    await browser.reaches(() => browser.streams.size === 0, 'no stream')
  })

  test('a message on its way when the leader dies is accepted once', async () => {
    const { browser, tabs } = await sharing(2)
    const sent = range(1, 20).map((index) =>
      tabs[1].connection.send({ type: 'send', sessionId: 's2', prompt: String(index) }),
    )
    await browser.reaches(() => browser.commands.length > 0, 'the first')
    tabs[0].crash()
    const verdicts: string[] = []
    for (const { settled } of sent) void settled.then(({ status }) => verdicts.push(status))
    await browser.reaches(() => verdicts.length === sent.length, 'all verdicts')
    expect(new Set(verdicts)).toEqual(new Set(['accepted']))
    expect(browser.commands.map(({ message }) => message.prompt)).toEqual(range(1, 20).map(String))
  })

  test('a leader that freezes lets go, and follows when it is back', async () => {
    const { browser, tabs } = await sharing(2)
    tabs[0].freeze()
    expect(await browser.share(tabs[1])).toBeLessThanOrEqual(1_000)
    await publish(browser, 2)
    await hears(browser, [1, 2], tabs[1])
    tabs[0].thaw()
    await browser.share(tabs[0], tabs[1])
    await hears(browser, [1, 2], tabs[0])
    expect(tabs[0].role).toBe('following')
  })

  test('a leader that is frozen without a word, and keeps its lock, loses it to a visible tab, once', async () => {
    const { browser, tabs } = await sharing(3)
    tabs[0].freeze('suddenly')
    await browser.reaches(() => tabs[1].role === 'leading' || tabs[2].role === 'leading', 'another leader', 12_000)
    await publish(browser, 2)
    await hears(browser, [1, 2], tabs[1], tabs[2])
    tabs[0].thaw('suddenly')
    await browser.share(...tabs)
    await hears(browser, [1, 2], tabs[0])
    expect(tabs[0].role).toBe('following')
    expect(browser.locks.steals.length).toBeLessThanOrEqual(2)
  })

  test('no hidden tab steals', async () => {
    const { browser, tabs } = await sharing(2)
    tabs[1].hide()
    await browser.passes(100)
    tabs[0].freeze('suddenly')
    await browser.passes(30_000)
    expect(browser.locks.steals).toEqual([])
    tabs[1].show()
    await browser.reaches(() => tabs[1].role === 'leading', 'the lock', 6_000)
  })

  test.each(['hears nobody', 'is heard by nobody'])(
    'a tab that %s does not go on stealing: it takes a line of its own',
    async (what) => {
      const { browser, tabs } = await sharing(1)
      const first = browser.said[0]?.tab
      const other = browser.open()
      browser.fate = ({ tab }, to) => ((what === 'hears nobody' ? to === other : tab !== first) ? 'lose' : 'deliver')
      other.connection.watch('s1')
      other.connection.connect()
      await browser.passes(120_000)
      expect(browser.locks.steals.length).toBeLessThanOrEqual(3)
      const both = [tabs[0], other]
      await browser.reaches(() => both.every(({ connection }) => connection.isOpen), 'both open')
      await publish(browser, 1)
      await hears(browser, [1], ...both)
      const told = both.flatMap(({ errors }) => errors).filter((error) => error.startsWith('not-shared'))
      expect(told).toHaveLength(1)
    },
  )

  test.each(['hears', 'is heard'])('a tab that %s no more takes a line of its own, sooner or later', async (what) => {
    const { browser, tabs } = await sharing(2)
    const first = browser.said[0]?.tab
    browser.fate = ({ tab }, to) => ((what === 'hears' ? to === tabs[1] : tab !== first) ? 'lose' : 'deliver')
    await browser.reaches(() => tabs.some(({ role }) => role === 'own'), 'a line of its own', 120_000)
    await browser.reaches(() => [...tabs].every(({ connection }) => connection.isOpen), 'both open')
    await publish(browser, 1)
    await hears(browser, [1], ...tabs)
    expect(browser.locks.steals.length).toBeLessThanOrEqual(3)
  })

  test('a hidden leader makes room for a visible tab within a second, and for no hidden one', async () => {
    const { browser, tabs } = await sharing(3)
    tabs[1].hide()
    await browser.passes(100)
    tabs[0].hide()
    expect(await browser.reaches(() => tabs[2].role === 'leading', 'the visible one')).toBeLessThanOrEqual(1_000)
    await browser.share(...tabs)
    tabs[2].hide()
    await browser.passes(10_000)
    expect(tabs[2].role).toBe('leading')
    tabs[1].show()
    expect(await browser.reaches(() => tabs[1].role === 'leading', 'the one that is shown')).toBeLessThanOrEqual(1_000)
    await publish(browser, 2)
    await hears(browser, [1, 2], ...tabs)
  })

  test('an heir that does not come is not waited for', async () => {
    const { browser, tabs } = await sharing(2)
    browser.fate = ({ type }) => (type === 'cede' ? 'lose' : 'deliver')
    tabs[0].hide()
    await browser.reaches(() => !tabs[0].connection.isOpen, 'the stream is closed')
    browser.fate = ({ type }) => (type === 'want' ? 'lose' : 'deliver')
    await browser.share(...tabs)
    expect(tabs[0].role).toBe('leading')
    await publish(browser, 1)
    await hears(browser, [1], ...tabs)
  })

  test('a tab that waits for its next try is woken as soon as there is a line again', async () => {
    const browser = createBrowser()
    const { tabs } = await sharing(1, { backoff: { base: 1_000, cap: 1_000 } }, browser)
    const patient = browser.open({ backoff: { base: 30_000 } })
    patient.connection.connect()
    await browser.share(tabs[0], patient)
    tabs[0].cut()
    await browser.reaches(() => patient.connection.phase === 'backoff', 'its wait')
    expect(await browser.share(tabs[0], patient)).toBeLessThanOrEqual(2_000)
  })

  test('a new leader waits as long as the server has asked the old one to', async () => {
    const { browser, tabs } = await sharing(3)
    await browser.server.close({ retryAfter: 30_000 })
    await browser.reaches(() => tabs.every(({ connection }) => connection.phase === 'backoff'), 'goodbye')
    const before = browser.requests.length
    tabs[0].close()
    await browser.reaches(() => tabs[1].role === 'leading', 'another leader')
    await browser.passes(29_000)
    expect(browser.requests.slice(before)).toEqual([])
    await browser.reaches(() => browser.requests.length > before, 'the next try')
  })

  test('tabs that are hidden one after the other: the server is told once all of them are, also after a hand-over', async () => {
    const { browser, tabs } = await sharing(2, { lifecycle: true })
    const suspends = () => browser.requests.filter((request) => request.endsWith(' suspend'))
    tabs[0].hide()
    await browser.reaches(() => tabs[1].role === 'leading', 'the hand-over')
    await browser.share(...tabs)
    expect(suspends()).toEqual([])
    tabs[1].hide()
    await browser.reaches(() => suspends().length > 0, 'the suspend')
    tabs[1].show()
    await publish(browser, 2)
    await hears(browser, [1, 2], ...tabs)
    expect(suspends()).toEqual(['tab2 suspend'])
  })

  test('at no time are there two streams', async () => {
    const { browser, tabs } = await sharing(3)
    let most = 0
    const add = browser.streams.add.bind(browser.streams)
    browser.streams.add = (stream) => {
      add(stream)
      most = Math.max(most, browser.streams.size)
      return browser.streams
    }
    tabs[0].hide()
    await browser.reaches(() => tabs[0].role === 'following', 'a hand-over')
    await browser.share(...tabs)
    const leader = tabs.find(({ role }) => role === 'leading')
    leader?.close()
    await browser.share(...[...tabs].filter((tab) => tab !== leader))
    expect(most).toBe(1)
  })

  test('the line is cut: all read closed, the leader comes back with its backoff, the others with it', async () => {
    const { browser, tabs } = await sharing(2)
    browser.isOffline = true
    tabs[0].cut()
    await browser.reaches(() => tabs.every(({ connection }) => !connection.isOpen), 'all closed')
    await browser.passes(5_000)
    const before = browser.requests.length
    browser.isOffline = false
    await publish(browser, 1)
    await browser.share(...tabs)
    await hears(browser, [1], ...tabs)
    expect(browser.requests.slice(before).filter((request) => request.endsWith(' events'))).toEqual(['tab1 events'])
  })
})

describe('who may share', () => {
  test('a tab hears nothing of a stream of which it has no proof', async () => {
    const { browser, tabs } = await sharing(1)
    const other = browser.open({ user: 'you' })
    other.connection.watch('s1')
    other.connection.connect()
    await browser.reaches(() => other.role === 'following', 'it follows')
    tabs[0].hide()
    await browser.reaches(() => other.role === 'leading' && other.connection.isOpen, 'it leads')
    await publish(browser, 1)
    await browser.passes(100)
    expect([tabs[0].connection.isOpen, tabs[0].received, other.seqs('s1')]).toEqual([false, [], [1]])
    await hears(browser, [1], tabs[0], other)
  })

  test('a tab whose proof takes long shares all the same', async () => {
    const { browser, tabs } = await sharing(1)
    browser.latency = 3_000
    const other = browser.open()
    other.connection.connect()
    await browser.share(...tabs, other)
    expect(other.errors).toEqual([])
  })

  test('a tab of another user takes a line of its own, and says so', async () => {
    const { browser, tabs } = await sharing(2, { user: 'alice' })
    const other = browser.open({ user: 'bob' })
    other.connection.watch('s1')
    other.connection.watch('private-bob')
    other.connection.connect()
    await browser.reaches(() => other.connection.isOpen, 'a line of its own', 30_000)
    expect(other.role).toBe('own')
    expect(other.errors.filter((error) => error.startsWith('not-shared'))).toHaveLength(1)
    await publish(browser, 1, 'private-bob')
    await browser.reaches(() => other.received.length === 1, 'his event')
    expect([...tabs].flatMap(({ received }) => received)).toEqual([])
    expect([...tabs].every(({ connection }) => connection.isOpen)).toBe(true)
  })

  test('a tab that waits for a stream for less than the doubt lasts takes a line of its own all the same', async () => {
    const { browser } = await sharing(1, { user: 'alice' })
    const other = browser.open({ user: 'bob', timeouts: { connect: 3_000 } })
    other.connection.watch('private-bob')
    other.connection.connect()
    await browser.reaches(() => other.role === 'own' && other.connection.isOpen, 'a line of its own', 10_000)
    expect(other.errors.filter((error) => error.startsWith('not-shared'))).toHaveLength(1)
  })

  test('a tab with a line of its own shares again once that ends, and not within a minute', async () => {
    const { browser, tabs } = await sharing(2, { user: 'alice' })
    const other = browser.open({ user: 'bob' })
    other.connection.watch('s1')
    other.connection.connect()
    await browser.reaches(() => other.role === 'own' && other.connection.isOpen, 'a line of its own', 30_000)
    other.user = 'alice'
    other.cut()
    await browser.passes(5_000)
    expect([other.role, other.connection.isOpen, browser.streams.size]).toEqual(['own', true, 2])
    await browser.passes(60_000)
    // It lives, so it stays.
    expect([other.role, browser.streams.size]).toEqual(['own', 2])
    await publish(browser, 3)
    other.cut()
    await publish(browser, 3)
    await browser.share(...tabs, other)
    await hears(browser, range(1, 6), ...tabs, other)
    expect(other.errors.filter((error) => error.startsWith('not-shared'))).toHaveLength(1)
  })

  test('a tab that may not share says so again when it has tried again, and has its line', async () => {
    const { browser } = await sharing(1, { user: 'alice' })
    const other = browser.open({ user: 'bob' })
    other.connection.watch('private-bob')
    other.connection.connect()
    await browser.reaches(() => other.role === 'own' && other.connection.isOpen, 'a line of its own', 30_000)
    await browser.passes(61_000)
    other.cut()
    await browser.reaches(() => other.role !== 'own', 'another try')
    await browser.reaches(() => other.role === 'own' && other.connection.isOpen, 'its own again', 30_000)
    await publish(browser, 1, 'private-bob')
    await browser.reaches(() => other.received.length === 1, 'his event')
    expect(other.errors.filter((error) => error.startsWith('not-shared'))).toHaveLength(2)
  })

  test('a roll-out: two builds have a line each, and the tabs of the new one share once the old ones are gone', async () => {
    const { browser, tabs } = await sharing(2)
    const open = browser.openChannel.bind(browser)
    const build2 = (name: string) => name.replace(':1:', ':2:')
    browser.openChannel = (tab, name) => open(tab, young.includes(tab) ? build2(name) : name)
    const locksOf = browser.locks.of
    browser.locks.of = (tab) => ({
      request: (name, options, callback) => locksOf(tab).request(build2(name), options, callback),
    })
    const young: FakeTab[] = []
    for (let count = 0; count < 2; count++) {
      const tab = browser.open()
      young.push(tab)
      tab.connection.watch('s1')
      tab.connection.connect()
    }
    const all = [...tabs, ...young]
    await browser.reaches(() => all.every(({ connection }) => connection.isOpen), 'all open')
    await publish(browser, 3)
    await hears(browser, range(1, 3), ...all)
    expect(all.map(({ role }) => role).toSorted()).toEqual(['following', 'following', 'leading', 'leading'])
    expect(browser.streams.size).toBe(2)
    for (const tab of tabs) tab.close()
    await publish(browser, 3)
    await browser.share(...young)
    await hears(browser, range(1, 6), ...young)
    expect(young.flatMap(({ errors }) => errors)).toEqual([])
  })

  test('a new login in all tabs: the line is replaced, and all of them go on', async () => {
    const { browser, tabs } = await sharing(2, { user: 'alice' })
    for (const tab of tabs) tab.user = 'bob'
    const late = browser.open({ user: 'bob' })
    late.connection.watch('s1')
    late.connection.connect()
    await browser.share(...tabs, late)
    await publish(browser, 1)
    await hears(browser, [1], ...tabs, late)
  })

  test('other options are another line: tabs of two names do not hear of each other', async () => {
    const browser = createBrowser()
    const one = browser.open({ name: 'one' })
    const two = browser.open({ name: 'two' })
    const three = browser.open({ name: 'one', credentials: 'include' })
    connectAll(one, two, three)
    await browser.reaches(() => [one, two, three].every(({ role }) => role === 'leading'), 'three leaders')
  })

  test('a server that lacks what sharing takes: every tab has a line of its own, and says so', async () => {
    const browser = lacking('contiguous-seq')
    const tabs = [browser.open(), browser.open()]
    connectAll(...tabs)
    await browser.reaches(() => tabs.every(({ role, connection }) => role === 'own' && connection.isOpen), 'two lines')
    for (const { errors } of tabs)
      expect(errors.filter((error) => /^not-shared: .*contiguous-seq/.test(error))).toHaveLength(1)
  })

  test.each<[string, TabOptions, RegExp | null]>([
    ['the app wants none', { mode: 'own' }, null],
    ['events may come twice', { dedupe: false }, /dedupe/],
    ['a transport posts over its stream', { transport: webSocketTransport() }, /posts over its stream/],
  ])('%s: an ordinary connection', async (_, options, why) => {
    const browser = createBrowser()
    const tab = browser.open(options)
    expect(tab.errors).toEqual([])
    tab.connection.connect()
    tab.connection.disconnect()
    tab.connection.connect()
    expect(tab.role).toBe('own')
    expect(tab.errors.filter((error) => error.startsWith('not-shared'))).toEqual(
      why ? [expect.stringMatching(why)] : [],
    )
  })

  test('without Web Locks: an ordinary connection, and it is said once it is wanted', () => {
    const errors: string[] = []
    const fetch = () => new Promise<Response>(() => {})
    const connection = createSharedConnection(
      { url: 'https://chat.test/api', fetch, transport: fetchStreamTransport },
      { name: 'chat' },
    )
    connection.on('error', ({ error }) => errors.push(error.message))
    expect([connection.tabs.role, errors]).toEqual(['own', []])
    connection.connect()
    expect(errors).toEqual([expect.stringMatching(/no Web Locks/)])
    connection.dispose()
  })

  test.each([
    [undefined, 'options'],
    [{}, 'name'],
    [{ name: 'x', mode: 'both' }, 'mode'],
    [{ name: 'x', disconnects: 'some' }, 'disconnects'],
    [{ name: 'x', nmae: 1 }, 'nmae'],
  ])('an option that does not fit is named: %s', (shared, culprit) => {
    expect(() => createSharedConnection({ url: 'https://chat.test' }, shared as never)).toThrow(culprit)
  })
})

describe('a look inside', () => {
  test.each(['auto', 'own'] as const)('a listener of the role that throws is reported (%s)', async (mode) => {
    const browser = createBrowser()
    const tab = browser.open({ mode })
    const roles: string[] = []
    tab.connection.tabs.subscribe((role) => {
      roles.push(role)
      throw new Error('from the app')
    })
    tab.connection.connect()
    await browser.reaches(() => tab.connection.isOpen, 'open')
    expect(roles).toEqual(mode === 'own' ? ['own'] : ['apart', 'electing', 'leading'])
    expect(tab.errors).toEqual(roles.map(() => expect.stringContaining('listener-failed: tabs listener threw')))
  })

  test('a trace names the tab and the one that leads, and has the steps of both machines', async () => {
    const { browser, tabs } = await sharing(2)
    const [one, two] = tabs.map(({ connection }) => connection.trace()) as [Trace, Trace]
    expect([one.leader, two.leader]).toEqual([one.tab, one.tab])
    expect(one.tab).not.toBe(two.tab)
    const stepsOf = ({ steps }: Trace) =>
      steps.filter(({ machine }) => machine === 'tab').map(({ event, to }) => `${event} ${to.split('.').slice(2)}`)
    expect(stepsOf(one)).toEqual(['stream.wanted electing,hailing', 'lock.granted leading,keeping'])
    expect(stepsOf(two)).toEqual([
      'stream.wanted electing,hailing',
      'leader.told following,joining,proving',
      'join.proved following,joined',
    ])
    await browser.passes(60_000)
    // The leader is heard every 2 s, and that is no step.
    expect(stepsOf(tabs[1].connection.trace())).toEqual(stepsOf(two))
    const saved = JSON.stringify(two)
    expect(replayTrace(saved)).toEqual({ steps: two.steps.length, divergence: null })
    expect(formatTrace(saved)).toContain(`of tab ${two.tab}; tab ${one.tab} holds the stream\n`)
    expect(formatTrace(saved)).toMatch(/ tab electing.hailing → following.joining.proving +leader.told/)
    expect(formatTrace(saved, 'mermaid')).toContain('tabs->>tab: leader.told')
    expect(formatTrace(one)).toContain('it holds the stream')
  })

  test('the inspector sees who leads, and no connectionId', async () => {
    const told: InspectorEvent[] = []
    const { inspect } = createInspector({ adapter: { send: (event) => void told.push(event) } })
    const { tabs } = await sharing(2, { inspect })
    const roots = told.filter(({ type, name }) => type === '@xstate.actor' && name === 'tabs')
    expect(roots).toHaveLength(2)
    const contextOf = ({ sessionId }: InspectorEvent) =>
      (told.findLast((event) => event.sessionId === sessionId && event.type === '@xstate.snapshot')?.snapshot ??
        {}) as {
        readonly value: unknown
        readonly context: Readonly<Record<string, unknown>>
      }
    const [first, second] = roots.map(contextOf)
    expect(first?.value).toEqual({ active: { present: { leading: 'keeping' } } })
    expect(second?.value).toEqual({ active: { present: { following: 'joined' } } })
    const { tab, leader } = tabs[1].connection.trace()
    expect(second?.context).toMatchObject({ tab, leader, standing: 'visible', line: '[redacted]' })
    expect(JSON.stringify(told)).not.toContain(String(tabs[0].connection.connectionId))
  })

  test('an inspector that throws stops no tab', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    const { live } = await sharing(2, {
      inspect: () => {
        throw new Error('no')
      },
    })
    for (const { errors } of live)
      expect(new Set(errors.map((error) => error.split(':')[0]))).toEqual(new Set(['listener-failed']))
  })
})

describe('what goes over the channel', () => {
  test.each(['in the middle', 'last'])('a lost frame (%s) is noticed, and fetched', async (where) => {
    const { browser, tabs } = await sharing(2)
    let lost = 0
    browser.fate = ({ type, data }, to) => {
      const isIt = type === 'frame' && to === tabs[1] && String(data).includes('"seq":2') && lost === 0
      if (isIt) lost++
      return isIt ? 'lose' : 'deliver'
    }
    await publish(browser, where === 'last' ? 2 : 4)
    const all = range(1, where === 'last' ? 2 : 4)
    await hears(browser, all, ...tabs)
    expect(lost).toBe(1)
  })

  test('what an old leader said, and comes late, is not heard', async () => {
    const { browser, tabs } = await sharing(2)
    browser.fate = ({ type }) => (type === 'frame' ? 3_000 : 'deliver')
    await publish(browser, 2)
    tabs[0].crash()
    browser.fate = () => 'deliver'
    await browser.share(tabs[1])
    await hears(browser, [1, 2], tabs[1])
    await browser.passes(5_000)
    expect(tabs[1].seqs('s1')).toEqual([1, 2])
  })

  test('what a leader says whose term is over is not heard, and that of the one who leads is', async () => {
    const { browser, tabs } = await sharing(3)
    const old = browser.said.find(({ type }) => type === 'line')
    tabs[0].crash()
    await browser.share(tabs[1], tabs[2])
    const leading = browser.said.findLast(({ n }) => n !== undefined)
    const follower = tabs.find(({ role }) => role === 'following') as FakeTab
    const stranger = browser.openChannel(follower, browser.channelNames[0] as string)
    const say = (of: typeof old, note: string) =>
      stranger.postMessage({ ...of, type: 'frame', n: Number(of?.n) + 1, to: null, data: JSON.stringify({ note }) })
    say(old, 'old')
    say(leading, 'new')
    await browser.reaches(() => follower.received.length > 0, 'a note')
    expect(follower.received).toEqual([{ note: 'new' }])
  })

  test('what is no message changes nothing', async () => {
    const { browser, tabs } = await sharing(2)
    const stranger = browser.openChannel(tabs[0], browser.channelNames[0] as string)
    const junk = [
      null,
      1,
      'x',
      {},
      { type: 'line' },
      { type: 'xstate.stop', tab: 'x' },
      { type: 'line', tab: 'zz', term: 2 ** 52, standing: 'visible', n: 0, welcome: 7, error: null, tabs: [] },
    ]
    for (const message of junk) stranger.postMessage(message)
    await browser.passes(100)
    await publish(browser, 1)
    await hears(browser, [1], ...tabs)
    expect([...tabs].map(({ role }) => role)).toEqual(['leading', 'following'])
  })
})

test.each(['disconnect', 'dispose'] as const)(
  'I8: after %s a tab holds no timer, listener, channel, lock or stream',
  async (how) => {
    const { browser, live } = await sharing(3)
    for (const { connection } of live) connection[how]()
    await browser.reaches(() => browser.streams.size === 0, 'no stream')
    await browser.passes(100)
    for (const tab of live)
      expect([tab.role, tab.timers.size, tab.document.size, tab.window.size]).toEqual(['apart', 0, 0, 0])
    expect([browser.openChannels, browser.locks.size]).toEqual([0, 0])
    if (how === 'dispose') return
    connectAll(...live)
    await browser.share(...live)
  },
)

test.each<[string, (...tabs: readonly FakeTab[]) => void]>([
  ['reconnect', (_, other) => other?.connection.watch('s3')],
  ['unwatch', (_, other) => other?.connection.unwatch('s2')],
])('I8: %s, posted by the leading tab for all, ends with the stream that it is about', async (endpoint, act) => {
  const { browser, tabs } = await sharing(2)
  tabs[1].connection.watch('s2')
  await browser.passes(100)
  const signals: (AbortSignal | null | undefined)[] = []
  browser.posted = (tab, url, { signal }) => {
    if (tab === tabs[0] && url.endsWith(`/${endpoint}`)) signals.push(signal)
  }
  browser.latency = 5_000
  act(...tabs)
  await browser.reaches(() => signals.length > 0, endpoint)
  tabs[0].connection.disconnect()
  await browser.passes(0)
  expect(signals.map((signal) => signal?.aborted)).toEqual([true])
  expect(tabs[0].timers.size).toBe(0)
})

test('I8: a suspend that the leading tab posts for all leaves no timer behind', async () => {
  const { browser, tabs } = await sharing(2)
  browser.latency = 5_000
  for (const { connection } of tabs) connection.suspend()
  await browser.reaches(() => browser.requests.some((request) => request.endsWith(' suspend')), 'the suspend')
  tabs[0].connection.disconnect()
  await browser.passes(0)
  expect(tabs[0].timers.size).toBe(0)
})
