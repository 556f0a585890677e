import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../testing/harness/random'
import { FakeBrowser, type FakeTab, range } from './browser'

// Everything that can happen to tabs, in an order that a seed draws; then the sky clears, and each
// tab must have had every event once, in order, over one stream.

interface Sky {
  readonly browser: FakeBrowser
  readonly draw: (below: number) => number
  readonly frozen: Set<FakeTab>
  readonly sent: { readonly tab: FakeTab; readonly prompt: string; status: string }[]
  published: number
  /** Tabs that watch a second session, each from its begin. */
  readonly second: Set<FakeTab>
  publishedSecond: number
}

const one = <T>(draw: Sky['draw'], of: readonly T[]): T | undefined => of[draw(of.length)]

function openTab({ browser }: Sky) {
  const tab = browser.open()
  tab.connection.watch('s1')
  tab.connection.connect()
}

const LETTERS: Readonly<Record<string, (sky: Sky) => unknown>> = {
  open: (sky) => sky.browser.live.length + sky.frozen.size < 5 && openTab(sky),
  'open another': (sky) => LETTERS.open?.(sky),
  close: ({ browser, draw }) => browser.live.length > 1 && one(draw, browser.live)?.close(),
  crash: ({ browser, draw }) => browser.live.length > 1 && one(draw, browser.live)?.crash(),
  freeze({ browser, draw, frozen }) {
    const tab = browser.live.length > 1 && one(draw, browser.live)
    if (!tab) return
    tab.freeze(draw(2) ? 'told' : 'suddenly')
    frozen.add(tab)
  },
  thaw({ draw, frozen }) {
    const tab = one(draw, [...frozen])
    if (!tab) return
    frozen.delete(tab)
    tab.thaw('told')
  },
  hide: ({ browser, draw }) => one(draw, browser.live)?.hide(),
  show: ({ browser, draw }) => one(draw, browser.live)?.show(),
  cut: ({ browser, draw }) => one(draw, browser.live)?.cut(),
  offline({ browser, draw }) {
    browser.isOffline = true
    one(draw, browser.live)?.cut()
  },
  online({ browser }) {
    browser.isOffline = false
  },
  suspend: ({ browser, draw }) => one(draw, browser.live)?.connection.suspend(),
  wake: ({ browser, draw }) => one(draw, browser.live)?.connection.wake(),
  reconnect: ({ browser, draw }) => one(draw, browser.live)?.connection.reconnect(),
  leave({ browser, draw }) {
    const tab = one(draw, browser.live)
    tab?.connection.disconnect()
    tab?.connection.connect()
  },
  async publish(sky) {
    const count = 1 + sky.draw(3)
    sky.published += count
    for (let index = 0; index < count; index++) await sky.browser.publish('s1', 'x')
  },
  'publish more': (sky) => LETTERS.publish?.(sky),
  async 'publish to the second'(sky) {
    sky.publishedSecond++
    await sky.browser.publish('s3', 'x')
  },
  'watch the second'({ browser, draw, second }) {
    const tab = one(draw, browser.live)
    if (!tab || second.has(tab)) return
    second.add(tab)
    tab.connection.watch('s3')
  },
  'leave a third'({ browser, draw }) {
    const tab = one(draw, browser.live)
    tab?.connection.watch('s4')
    tab?.connection.unwatch('s4')
  },
  send({ browser, draw, sent }) {
    const tab = one(draw, browser.live)
    if (!tab) return
    const prompt = `${tab.name} ${sent.filter((other) => other.tab === tab).length}`
    const message = { tab, prompt, status: 'pending' }
    sent.push(message)
    void tab.connection.send({ type: 'send', sessionId: 's2', prompt }).settled.then(({ status }) => {
      message.status = status
    })
  },
  lose({ browser, draw }) {
    const left = { count: 1 + draw(3) }
    browser.fate = () => (left.count-- > 0 ? 'lose' : 'deliver')
  },
  late({ browser, draw }) {
    const ms = 1 + draw(400)
    const left = { count: 1 + draw(3) }
    browser.fate = () => (left.count-- > 0 ? ms : 'deliver')
  },
}

const rises = (seqs: readonly unknown[]) =>
  seqs.every((seq, index) => index === 0 || Number(seq) > Number(seqs[index - 1]))

/** Holds at every moment. */
function check({ browser }: Sky, what: string) {
  for (const tab of browser.live)
    for (const session of ['s1', 's3'])
      expect([what, tab.name, rises(tab.seqs(session))]).toEqual([what, tab.name, true])
  const shared = [...browser.streams].filter(({ tab }) => tab.isLive && tab.role !== 'own')
  expect([what, shared.length <= 1]).toEqual([what, true])
}

async function weather(seed: number, steps: number) {
  const random = seededRandom(seed)
  const draw = (below: number) => Math.floor(random() * below)
  const browser = new FakeBrowser()
  browser.random = random
  const sky: Sky = { browser, draw, frozen: new Set(), sent: [], published: 0, second: new Set(), publishedSecond: 0 }
  const names = Object.keys(LETTERS)
  const story: string[] = []
  openTab(sky)
  openTab(sky)
  for (let step = 0; step < steps; step++) {
    const name = one(draw, names) as string
    story.push(name)
    await LETTERS[name]?.(sky)
    await browser.passes(one(draw, [0, 20, 200, 1_000, 4_000]) as number)
    check(sky, `seed ${seed}: ${story.join(' ')}`)
  }
  for (const tab of sky.frozen) tab.thaw()
  browser.fate = () => 'deliver'
  browser.isOffline = false
  for (const tab of browser.live) tab.show()
  const all = JSON.stringify(range(1, sky.published))
  const allOfSecond = JSON.stringify(range(1, sky.publishedSecond))
  const isWhole = (tab: FakeTab) =>
    tab.connection.isOpen &&
    JSON.stringify(tab.seqs('s1')) === all &&
    (!sky.second.has(tab) || JSON.stringify(tab.seqs('s3')) === allOfSecond)
  const tale = `seed ${seed}: ${story.join(' ')}`
  await browser.reaches(() => browser.live.every(isWhole), `every tab is whole; ${tale}`, 120_000)
  const own = sky.sent.filter(({ tab }) => browser.live.includes(tab))
  await browser.reaches(() => own.every(({ status }) => status !== 'pending'), `every verdict; ${tale}`, 120_000)
  expect([tale, ...new Set(own.map(({ status }) => status))].slice(1)).toEqual(own.length ? ['accepted'] : [])
  for (const tab of browser.live) {
    const prompts = browser.commands.map(({ message }) => String(message.prompt))
    const its = prompts.filter((prompt) => prompt.startsWith(`${tab.name} `))
    expect([tale, its]).toEqual([tale, own.filter((one) => one.tab === tab).map(({ prompt }) => prompt)])
  }
  check(sky, tale)
  await browser.end()
}

describe('whatever happens to the tabs of a browser, each has every event once, in order, and one stream serves all', () => {
  test.each(range(1, 40))('seed %i', (seed) => weather(seed, 40))
})
