import type { Browser } from 'puppeteer-core'
import { bundleForPage } from '../../field/bundle'
import { findBrowser, launchPlain } from '../../shared/browser'
import { call, startTabsSite, type TabsSite, type Told, tell } from '../../shared/tabsSite'
import { createDice, type Dice, oneOf } from '../dice'
import { KILLS, type Kill, pause, type Slot, type World } from './kills'
import { judge, judgeMessages } from './verdict'

export interface TabsRunOptions {
  readonly kills: number
  /** How long the load takes, s. */
  readonly seconds: number
  /** Over all tabs. */
  readonly sends: number
  /** Over all sessions. Each tab watches two of them, from their beginning. */
  readonly events: number
  /** Whether a shared worker takes part. */
  readonly worker: boolean
  readonly seed: number
  readonly log?: (line: string) => void
}

export interface TabsOutcome {
  readonly violations: readonly string[]
  /** How often each kill was done. */
  readonly kills: Readonly<Record<string, number>>
  /** Lives of pages, those that were killed as well. */
  readonly lives: number
  readonly sent: number
  /** Events that reached a tab. */
  readonly heard: number
}

export const TABS = 8
const ROOMS = ['room0', 'room1', 'room2', 'room3', 'room4'] as const
const TICK = 250
/** How long everything may take to arrive after the load, s. */
const PATIENCE = 60

/** Eight tabs of a real browser, and one kill after the other while all of them send and hear. */
export async function runTabs(options: TabsRunOptions): Promise<TabsOutcome> {
  const executable = findBrowser()
  if (!executable) throw new Error('there is no Chromium: install one, or set CHROME_PATH')
  const site = await startTabsSite(await bundleForPage('./page/tabs.ts'))
  const browser = await launchPlain(executable)
  try {
    return await new TabsRun(options, browser, site).run()
  } finally {
    await browser.close()
    await site.close()
  }
}

class TabsRun implements World {
  readonly #browser: Browser
  readonly site: TabsSite
  readonly slots: Slot[] = []
  readonly #options: TabsRunOptions
  readonly #dice: Dice
  /** The last that was heard of each life. */
  readonly #told = new Map<string, Told>()
  readonly #heads = new Map<string, number>()
  readonly #kills: Record<string, number> = {}
  #sent = 0
  #published = 0

  constructor(options: TabsRunOptions, browser: Browser, site: TabsSite) {
    this.#options = options
    this.#dice = createDice(options.seed)
    this.#browser = browser
    this.site = site
  }

  async run(): Promise<TabsOutcome> {
    for (let index = 0; index < TABS; index++) {
      const rooms = [ROOMS[index % ROOMS.length], ROOMS[(index + 2) % ROOMS.length]]
      const search = `?watch=${rooms}${this.#options.worker ? '&worker' : ''}`
      this.slots.push({ search, page: await this.open(search), state: 'live' })
    }
    await Promise.all([this.#load(), this.#kill()])
    const lateness = await this.#settle()
    const violations = [...lateness, ...judge(this.#told), ...judgeMessages(this.#told, this.site.prompts)]
    const all = [...this.#told.values()]
    const heard = all.flatMap(({ heads }) => Object.values(heads)).reduce((sum, count) => sum + count, 0)
    return { violations, kills: this.#kills, lives: this.#told.size, sent: this.#sent, heard }
  }

  readonly open = async (search: string) => {
    const page = await this.#browser.newPage()
    await page.goto(`${this.site.origin}/${search}`)
    return page
  }

  readonly front = async (than: Slot) => {
    await this.slots.find((slot) => slot !== than && slot.state === 'live')?.page.bringToFront()
  }

  /** Spreads what is sent and published over the time. */
  async #load() {
    const { seconds, sends, events } = this.#options
    const startedAt = performance.now()
    for (let share = 0; share < 1; await pause(TICK)) {
      share = Math.min(1, (performance.now() - startedAt) / (seconds * 1_000))
      while (this.#published < Math.round(share * events)) {
        const room = ROOMS[this.#published++ % ROOMS.length] as string
        await this.site.publish(1, room)
        this.#heads.set(room, (this.#heads.get(room) ?? 0) + 1)
      }
      const live = this.slots.filter(({ state }) => state === 'live')
      const due = Math.round(share * sends) - this.#sent
      await Promise.all(live.map((slot, index) => this.#say(slot, Math.ceil((due - index) / live.length))))
      await this.#ask()
    }
  }

  async #say({ page }: Slot, count: number) {
    if (count <= 0) return
    const isSaid = await call(page, 'say', count).then(
      () => true,
      () => false,
    )
    if (isSaid) this.#sent += count
  }

  /** Asks each tab how it is. One that is killed meanwhile does not answer. */
  async #ask() {
    const live = this.slots.filter(({ state }) => state === 'live')
    const answers = await Promise.all(live.map(({ page }) => tell(page).catch(() => null)))
    for (const told of answers) if (told) this.#told.set(told.life, told)
    return answers
  }

  async #kill() {
    const { kills, seconds, log = () => {} } = this.#options
    const names = Object.keys(KILLS)
    const startedAt = performance.now()
    for (let count = 0; count < kills; count++) {
      await pause(startedAt + ((count + 0.5) * seconds * 1_000) / kills - performance.now())
      // Each in turn, so that no run is without one of them; the dice say whom it meets.
      const name = names[(count + this.#options.seed) % names.length] as string
      const slot = await this.#victim(count)
      this.#kills[name] = (this.#kills[name] ?? 0) + 1
      log(`${name} of ${this.slots.indexOf(slot)}`)
      await (KILLS[name] as Kill)(this, slot)
    }
  }

  /** The tab that leads; now and then, or while a worker does, any other one. */
  async #victim(count: number): Promise<Slot> {
    const live = this.slots.filter(({ state }) => state === 'live')
    const answers = await Promise.all(live.map(({ page }) => tell(page).catch(() => null)))
    const leader = live[answers.findIndex((told) => told?.role === 'leading')]
    return leader && this.#dice.chance(0.8, 'leader', count) ? leader : oneOf(this.#dice.draw('victim', count), live)
  }

  /** Waits until all has arrived. Returns what has not. */
  async #settle(): Promise<readonly string[]> {
    const until = performance.now() + PATIENCE * 1_000
    for (;;) {
      const missing = (await this.#ask()).flatMap((told, index) => this.#missing(told, index))
      const { streams } = this.site.server
      if (streams !== 1) missing.push(`${streams} streams at the end`)
      if (!missing.length || performance.now() > until) return missing
      await pause(TICK)
    }
  }

  #missing(told: Told | null, index: number): readonly string[] {
    if (!told) return [`tab ${index} does not answer`]
    const { search } = this.slots[index] as Slot
    const rooms = new URLSearchParams(search).get('watch')?.split(',') ?? []
    const { life, heads, verdicts, said, role, phase } = told
    const lost = rooms.flatMap((room) => {
      const [has, head] = [heads[room] ?? 0, this.#heads.get(room) ?? 0]
      return has === head ? [] : `${life} (${role}, ${phase}): ${has} of ${head} events of ${room}`
    })
    return verdicts.length === said ? lost : [...lost, `${life}: ${verdicts.length} verdicts for ${said} messages`]
  }
}
