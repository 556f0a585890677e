import type { ModelBrowser } from './modelBrowser'
import type { ModelTab } from './modelTab'

/** One thing that can happen to a browser. */
export interface TabLetter {
  isEnabled(browser: ModelBrowser): boolean
  act(browser: ModelBrowser): unknown
}
export type TabAlphabet = Readonly<Record<string, TabLetter>>

type Does = (tab: ModelTab, browser: ModelBrowser) => unknown
type Can = (tab: ModelTab, browser: ModelBrowser) => boolean

const MAX_EVENTS = 3
const MAX_SENT = 2
/** ms */
const SLEEP = 120_000
/** As many as tell of a change of the leader. */
const MANY = 5

const isAwake = (tab: ModelTab) => tab.isAwake
const isThere = () => true
const isConnected = ({ connection, isAwake }: ModelTab) => isAwake && connection.phase !== 'idle'
const servedOf = (tab: ModelTab, { served }: ModelBrowser) =>
  served.findLast((one) => one.tab === tab && !one.isCut && !one.stream.isClosed)
/** From each other tab, and the news of locks. */
const insideOf = ({ name }: ModelTab, { options }: ModelBrowser) => [
  `${name} lock`,
  ...Object.keys(options.tabs).map((other) => `${name} from ${other}`),
]
const networkOf = ({ name }: ModelTab) => [`${name} stream`, `${name} answers`]
const areHeld = (pipes: readonly string[], { pipes: { held } }: ModelBrowser) => pipes.some((pipe) => held.has(pipe))
const hold = (pipes: readonly string[], { pipes: { held } }: ModelBrowser) => {
  for (const pipe of pipes) held.add(pipe)
}
const release = (pipes: readonly string[], { pipes: { held } }: ModelBrowser) => {
  for (const pipe of pipes) held.delete(pipe)
}

/** By what is done to a tab that is there. */
const OF_A_TAB: Readonly<Record<string, readonly [Can, Does]>> = {
  closes: [isAwake, (tab) => tab.close()],
  crashes: [isThere, (tab) => tab.crash()],
  freezes: [isAwake, (tab) => tab.sleep('frozen')],
  hangs: [isAwake, (tab) => tab.sleep('hung')],
  'is cached': [isAwake, (tab) => tab.sleep('cached')],
  'wakes up': [(tab) => !tab.isAwake, (tab) => tab.wake()],
  'is hidden': [({ isAwake, isVisible }) => isAwake && isVisible, ({ page }) => page.hides()],
  'is shown': [({ isAwake, isVisible }) => isAwake && !isVisible, ({ page }) => page.shows()],

  disconnects: [isConnected, ({ connection }) => connection.disconnect()],
  connects: [(tab) => tab.isAwake && tab.connection.phase === 'idle', ({ connection }) => connection.connect()],
  reconnects: [isConnected, ({ connection }) => connection.reconnect()],
  sends: [(tab) => tab.isAwake && tab.sent.length < MAX_SENT, (tab) => tab.send()],
  'watches s2': [(tab) => tab.isAwake && !tab.had.has('s2'), (tab) => tab.watch('s2')],
  'leaves s2': [(tab) => tab.isAwake && tab.had.has('s2'), (tab) => tab.leave('s2')],

  'stream is cut': [
    (tab, browser) => !!servedOf(tab, browser),
    (tab, browser) => {
      const served = servedOf(tab, browser)
      if (!served) return
      served.isCut = true
      browser.pipes.put(`${tab.name} stream`, 'cut', served.stream.fails)
    },
  ],
  'network stalls': [
    (tab, browser) => !areHeld(networkOf(tab), browser),
    (tab, browser) => hold(networkOf(tab), browser),
  ],
  'network goes on': [
    (tab, browser) => areHeld(networkOf(tab), browser),
    (tab, browser) => release(networkOf(tab), browser),
  ],
  'gets a frame': [
    ({ name, isAwake }, { pipes }) => isAwake && pipes.has(`${name} stream`),
    ({ name }, { pipes }) => pipes.arrive(`${name} stream`),
  ],
  'gets an answer': [
    ({ name, isAwake }, { pipes }) => isAwake && pipes.has(`${name} answers`),
    ({ name }, { pipes }) => pipes.arrive(`${name} answers`),
  ],
  'answers are lost': [
    ({ name, unanswered }, { pipes }) => unanswered.length > 0 && pipes.has(`${name} answers`),
    ({ name, unanswered }, { pipes }) => {
      pipes.lose(`${name} answers`)
      for (const post of unanswered) pipes.put(`${name} answers`, `${post.endpoint} failed`, post.fails)
    },
  ],

  lags: [
    (tab, browser) => !areHeld(insideOf(tab, browser), browser),
    (tab, browser) => hold(insideOf(tab, browser), browser),
  ],
  'catches up': [
    (tab, browser) => areHeld(insideOf(tab, browser), browser),
    (tab, browser) => release(insideOf(tab, browser), browser),
  ],
  'hears of its lock': [
    ({ name, isAwake }, { pipes }) => isAwake && pipes.has(`${name} lock`),
    ({ name }, { pipes }) => pipes.arrive(`${name} lock`),
  ],
  'misses messages': [
    ({ misses }, { present }) => !misses && present.length > 1,
    (tab) => {
      tab.misses = MANY
    },
  ],
}

const IN_THE_BROWSER: TabAlphabet = {
  'an event': {
    isEnabled: ({ heads }) => (heads.get('s1') ?? 0) < MAX_EVENTS,
    act: (browser) => browser.publish('s1'),
  },
  'an event of s2': {
    isEnabled: ({ heads }) => (heads.get('s2') ?? 0) < MAX_EVENTS - 1,
    act: (browser) => browser.publish('s2'),
  },
  'the lock is stolen': {
    isEnabled: ({ locks }) => locks.holders.length > 0,
    act: ({ locks, names }) => {
      const stranger = locks.of({ name: 'stranger', task: (run) => run() })
      for (const name of names) void stranger.request(name, { steal: true }, async () => {})
    },
  },
  'the network is gone': {
    isEnabled: ({ isOffline }) => !isOffline,
    act: (browser) => {
      browser.isOffline = true
      for (const tab of browser.present) OF_A_TAB['stream is cut']?.[1](tab, browser)
      for (const { page } of browser.awake) page.goesOffline()
    },
  },
  'the network is back': {
    isEnabled: ({ isOffline }) => isOffline,
    act: (browser) => {
      browser.isOffline = false
      for (const { page } of browser.awake) page.comesOnline()
    },
  },
  'the machine sleeps': {
    isEnabled: ({ awake }) => awake.length > 0,
    act: (browser) => {
      browser.timeline.sleep(SLEEP)
      // No beat has had a chance to make good what was lost.
      browser.lostAt += SLEEP
    },
  },
}

/** All timers are told apart by these. ms */
const TIMES: Readonly<Record<string, number>> = {
  'a moment': 300,
  seconds: 3_000,
  'too long': 7_500,
  'a minute': 61_000,
}

/** Is only where the server may lose what it had. */
export const RESTARTS: TabAlphabet = {
  'the server restarts': { isEnabled: ({ restarts }) => restarts < 2, act: (browser) => browser.restart() },
}

/** Everything that can happen to a browser with these tabs. */
export function lettersFor(names: readonly string[]): TabAlphabet {
  const letters: Record<string, TabLetter> = {}
  for (const [index, name] of names.entries()) {
    const before = names[index - 1]
    letters[`${name} opens`] = {
      // Names are in the order in which they were opened first.
      isEnabled: ({ tabs }) => (before === undefined || tabs.has(before)) && (tabs.get(name)?.isGone ?? true),
      act: (browser) => browser.open(name),
    }
    const there = (browser: ModelBrowser) => browser.present.find((tab) => tab.name === name)
    const add = (what: string, can: Can, does: Does) => {
      letters[`${name} ${what}`] = {
        isEnabled: (browser) => {
          const tab = there(browser)
          return !!tab && can(tab, browser)
        },
        act: (browser) => does(there(browser) as ModelTab, browser),
      }
    }
    for (const [what, [can, does]] of Object.entries(OF_A_TAB)) add(what, can, does)
    for (const other of names)
      if (other !== name)
        add(
          `hears ${other}`,
          ({ isAwake }, { pipes }) => isAwake && pipes.has(`${name} from ${other}`),
          (_, { pipes }) => pipes.arrive(`${name} from ${other}`),
        )
  }
  const passes = ([name, ms]: [string, number]): [string, TabLetter] => [
    `${name} passes`.replace('seconds passes', 'seconds pass'),
    { isEnabled: ({ present }) => present.length > 0, act: (browser) => browser.passes(ms) },
  ]
  return { ...letters, ...IN_THE_BROWSER, ...Object.fromEntries(Object.entries(TIMES).map(passes)) }
}
