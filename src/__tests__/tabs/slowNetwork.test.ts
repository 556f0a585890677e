import { memoryLog } from 'holdline/server'
import { afterEach, describe, expect, test } from 'vitest'
import { FakeBrowser, type FakeTab, range } from './browser'

// Answers that stream while tabs come and go, and POSTs that take longer than an event does.

const browsers: FakeBrowser[] = []
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.end()
})

/** So many tabs that share a line, and watch `s1`. */
async function sharing(count: number, log?: ConstructorParameters<typeof FakeBrowser>[1]) {
  const browser = new FakeBrowser({}, log)
  browsers.push(browser)
  const tabs = range(1, count).map(() => open(browser))
  await browser.share(...tabs)
  browser.latency = 200
  let published = 0
  /** An event every 10 ms. */
  const streams = async (events: number) => {
    for (const end = published + events; published < end; published++) {
      await browser.publish('s1', 'x')
      await browser.passes(10)
    }
  }
  return { browser, tabs: tabs as [FakeTab, FakeTab, FakeTab], streams }
}

function open(browser: FakeBrowser, after: number | 'head' = 0) {
  const tab = browser.open()
  tab.connection.watch('s1', { after })
  tab.connection.connect()
  return tab
}

const resumes = ({ requests }: FakeBrowser) => requests.filter((request) => request.endsWith(' reconnect')).length
const has = (browser: FakeBrowser, seqs: readonly number[], ...tabs: readonly FakeTab[]) =>
  browser
    .reaches(() => tabs.every((tab) => tab.seqs('s1').at(-1) === seqs.at(-1)), `event ${seqs.at(-1)}`)
    .then(() => {
      for (const tab of tabs) expect([tab.seqs('s1'), tab.errors]).toEqual([seqs, []])
    })

describe('a session that is busy, over a slow network', () => {
  test('a tab that joins has every event once and in order, by one resume', async () => {
    const { browser, tabs, streams } = await sharing(2)
    await streams(50)
    const before = resumes(browser)
    const late = open(browser)
    await streams(100)
    await has(browser, range(1, 150), ...tabs, late)
    expect(resumes(browser) - before).toBe(1)
  })

  test('so has one that watches it on a line that is open, and the line stays open', async () => {
    const { browser, tabs, streams } = await sharing(2)
    const late = browser.open()
    late.connection.watch('s2')
    late.connection.connect()
    await browser.share(...tabs, late)
    await streams(50)
    late.connection.watch('s1', { after: 0 })
    await streams(100)
    await has(browser, range(1, 150), late)
    expect(late.log).toEqual(['s2 resumed 0-0', 'opened', expect.stringMatching(/^s1 resumed 0-\d+$/)])
  })

  test('one that wants the news only has them from the head on, without a gap', async () => {
    const { browser, streams } = await sharing(2)
    await streams(50)
    const late = open(browser, 'head')
    await streams(100)
    await browser.reaches(() => late.seqs('s1').at(-1) === 150, 'the last one')
    const [first] = late.seqs('s1') as number[]
    expect([late.seqs('s1'), late.errors]).toEqual([range(Number(first), 150), []])
    expect(first).toBeGreaterThan(50)
  })

  test('one whose cursor is too old is told so, and misses nothing from there on', async () => {
    const { browser, streams } = await sharing(2, memoryLog({ maxEvents: 10, clock: { now: () => 0 } }))
    await streams(50)
    const late = open(browser, 3)
    await streams(100)
    await browser.reaches(() => late.seqs('s1').at(-1) === 150, 'the last one')
    const [, to] = /s1 reset \d+-(\d+)/.exec(late.log.join()) ?? []
    expect(late.seqs('s1')).toEqual(range(Number(to) + 1, 150))
    expect(late.log.filter((line) => line.includes('reset'))).toHaveLength(1)
  })

  test('a hand-over, and another one: each tab has every event once and in order', async () => {
    const { browser, tabs, streams } = await sharing(3)
    await streams(50)
    tabs[0].crash()
    await streams(100)
    tabs[1].hide()
    await streams(100)
    await has(browser, range(1, 250), tabs[1], tabs[2])
    expect(resumes(browser)).toBeLessThanOrEqual(6)
  })
})
