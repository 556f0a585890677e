import type { Browser, BrowserContext, Page } from 'playwright-core'
import type { RedisServer } from '../../shared/redisServer'
import { WORDS } from './model'
import { describeScreen, isWhole, readScreen, type Screen, wordsOf } from './screen'
import type { RunningStack } from './startStack'

/** What does not come in this time does not come. ms. */
const PATIENCE = 60_000
/** So long nothing must change, neither on the page nor at the model, ms. */
const QUIET = 6_000
const LOOK = 100

/** What the user sees, step by step, and what became of the model. */
export interface Seen {
  readonly steps: readonly (readonly [when: string, screen: string])[]
  readonly model: string
}

export interface Fault {
  readonly name: string
  play(stage: Stage): Promise<void>
  /** What a user of holdline sees. */
  readonly ours: Seen
}

/** A chat in a browser, over one stack. */
export class Stage {
  readonly steps: [when: string, screen: string][] = []
  /** Set by each fault. */
  page!: Page

  private constructor(
    readonly stack: RunningStack,
    readonly context: BrowserContext,
    readonly chat: string,
    private readonly redis: RedisServer,
  ) {}

  static async open(stack: RunningStack, browser: Browser, redis: RedisServer) {
    const stage = new Stage(stack, await browser.newContext(), `chat-${Math.random().toString(36).slice(2)}`, redis)
    stage.page = await stage.openTab()
    return stage
  }

  async openTab(): Promise<Page> {
    const page = await this.context.newPage()
    await page.goto(this.stack.url(this.chat))
    await page.waitForSelector('output')
    return page
  }

  send = () => this.page.click('#send', { force: true })
  stop = () => this.page.click('#stop', { force: true })

  /** Asks, and reads the beginning of the answer. */
  async untilTheMiddle() {
    await this.send()
    await this.words(15)
  }

  async reload() {
    await this.page.reload()
    await this.page.waitForSelector('output')
  }

  /** Until the page shows so many words, or says that no more will come. */
  async words(count: number) {
    await this.until(async () => {
      const screen = await readScreen(this.page)
      return wordsOf(screen) >= count || screen.status === 'error'
    })
  }

  async until(holds: () => Promise<boolean>) {
    for (const start = performance.now(); performance.now() - start < PATIENCE; ) {
      if (await holds()) return
      await new Promise((resolve) => setTimeout(resolve, LOOK))
    }
  }

  /** Waits for the end, and notes what the user sees. */
  async see(when: string, page = this.page) {
    const screen = await this.quiet(page)
    this.steps.push([when, screen ? describeScreen(screen) : 'nothing'])
  }

  /** Until the answer is whole, or nothing changes any more. */
  async quiet(page = this.page): Promise<Screen | undefined> {
    let last = ''
    let since = performance.now()
    let screen: Screen | undefined
    await this.until(async () => {
      screen = await readScreen(page)
      if (isWhole(screen)) return true
      const now = JSON.stringify([screen, await this.model()])
      if (now !== last) [last, since] = [now, performance.now()]
      return ['ready', 'error'].includes(screen.status) && performance.now() - since > QUIET
    })
    return screen
  }

  async model() {
    const { asked = '0', words = '0' } = await this.redis.admin.hgetall(`app:model:${this.chat}`)
    return { asked: Number(asked), words: Number(words) }
  }

  async close(): Promise<Seen> {
    const { asked, words } = await this.model()
    await this.context.close()
    const came = words === asked * WORDS.length ? 'to the end' : 'cut short'
    return { steps: this.steps, model: `asked ${asked} ×, ${asked ? came : 'never'}` }
  }
}

const WHOLE = 'whole, ready'
const ONCE = 'asked 1 ×, to the end'

export const FAULTS: readonly Fault[] = [
  {
    name: 'the socket dies three times in the middle',
    async play(stage) {
      await stage.send()
      for (const count of [15, 45, 75]) {
        await stage.words(count)
        stage.stack.cut()
      }
      await stage.see('at the end')
      await stage.reload()
      await stage.see('after a reload')
    },
    ours: {
      steps: [
        ['at the end', WHOLE],
        ['after a reload', WHOLE],
      ],
      model: ONCE,
    },
  },
  {
    name: 'the socket dies, and the user comes back from another tab while the model speaks',
    async play(stage) {
      await stage.untilTheMiddle()
      stage.stack.cut()
      await stage.words(40)
      await comeBack(stage)
      await stage.see('at the end')
    },
    ours: { steps: [['at the end', WHOLE]], model: ONCE },
  },
  {
    name: 'the socket dies, and the user comes back from another tab after that',
    async play(stage) {
      await stage.untilTheMiddle()
      stage.stack.cut()
      await stage.quiet()
      await comeBack(stage)
      await stage.see('at the end')
    },
    ours: { steps: [['at the end', WHOLE]], model: ONCE },
  },
  {
    name: 'the line goes dead without a word',
    async play(stage) {
      await stage.untilTheMiddle()
      stage.stack.silence()
      await stage.see('at the end')
      // Without this the reload itself may take a socket that is dead.
      stage.stack.cut()
      await stage.reload()
      await stage.see('after a reload')
    },
    ours: {
      steps: [
        ['at the end', WHOLE],
        ['after a reload', WHOLE],
      ],
      model: ONCE,
    },
  },
  {
    name: 'reload in the middle',
    async play(stage) {
      await stage.untilTheMiddle()
      await stage.reload()
      await stage.see('at the end')
    },
    ours: { steps: [['at the end', WHOLE]], model: ONCE },
  },
  {
    name: 'stop, then a reload',
    async play(stage) {
      await stage.untilTheMiddle()
      await stage.stop()
      await stage.see('at the end')
      await stage.reload()
      await stage.see('after the reload')
    },
    ours: {
      steps: [
        ['at the end', 'cut, ready'],
        ['after the reload', 'cut, ready'],
      ],
      model: 'asked 1 ×, cut short',
    },
  },
  {
    name: 'reload, then stop, then a reload',
    async play(stage) {
      await stage.untilTheMiddle()
      await stage.reload()
      await stage.words(30)
      await stage.stop()
      await stage.see('at the end')
      await stage.reload()
      await stage.see('after the reload')
    },
    ours: {
      steps: [
        ['at the end', 'cut, ready'],
        ['after the reload', 'cut, ready'],
      ],
      model: 'asked 1 ×, cut short',
    },
  },
  {
    name: 'a prompt typed offline',
    async play(stage) {
      await stage.context.setOffline(true)
      await stage.send()
      await stage.until(async () => (await readScreen(stage.page)).status !== 'ready')
      await stage.context.setOffline(false)
      await stage.see('back online')
      await stage.reload()
      await stage.see('after a reload')
    },
    ours: {
      steps: [
        ['back online', WHOLE],
        ['after a reload', WHOLE],
      ],
      model: ONCE,
    },
  },
  {
    name: 'a prompt typed offline, and a reload before the line is back',
    async play(stage) {
      await keepForOffline(stage)
      await stage.context.setOffline(true)
      await stage.send()
      await stage.until(async () => (await readScreen(stage.page)).status !== 'ready')
      await stage.reload()
      await stage.context.setOffline(false)
      await stage.see('back online')
    },
    ours: { steps: [['back online', WHOLE]], model: ONCE },
  },
  {
    name: 'the answer to the POST is lost, and a reload',
    async play(stage) {
      await stage.page.route(/\/api\/(chat|line\/(send|batch))$/, (route) => void route.fetch().catch(() => {}))
      await stage.send()
      await stage.until(async () => (await stage.model()).words > 3)
      await stage.page.unrouteAll({ behavior: 'ignoreErrors' })
      await stage.reload()
      await stage.see('at the end')
    },
    ours: { steps: [['at the end', WHOLE]], model: ONCE },
  },
  {
    name: 'a second tab, open before the prompt',
    async play(stage) {
      const second = await stage.openTab()
      await stage.send()
      await stage.see('the second tab', second)
      await stage.see('the first tab')
    },
    ours: {
      steps: [
        ['the second tab', WHOLE],
        ['the first tab', WHOLE],
      ],
      model: ONCE,
    },
  },
  {
    name: 'a second tab, opened in the middle',
    async play(stage) {
      await stage.untilTheMiddle()
      const second = await stage.openTab()
      await stage.see('the second tab', second)
      await stage.see('the first tab')
    },
    ours: {
      steps: [
        ['the second tab', WHOLE],
        ['the first tab', WHOLE],
      ],
      model: ONCE,
    },
  },
  {
    name: 'the server is killed in the middle, and comes back',
    async play(stage) {
      await stage.untilTheMiddle()
      await stage.stack.restart()
      await stage.see('at the end')
      await stage.reload()
      await stage.see('after a reload')
      await stage.page.click('#retry', { force: true })
      await stage.see('asked again')
    },
    ours: {
      steps: [
        ['at the end', 'cut, error'],
        ['after a reload', 'no answer, error'],
        ['asked again', WHOLE],
      ],
      model: 'asked 2 ×, cut short',
    },
  },
]

/** All that a page hears of it. */
const comeBack = ({ page }: Stage) => page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))

/** The page itself comes from a cache, as that of a progressive web app does. */
async function keepForOffline({ page, stack, chat }: Stage) {
  const html = await (await page.request.get(stack.url(chat))).text()
  await page.route(/\/(\?.*)?$/, (route) => route.fulfill({ contentType: 'text/html', body: html }))
  await page.route(/\/page\.js$/, (route) => route.fulfill({ contentType: 'text/javascript', body: stack.script }))
}
