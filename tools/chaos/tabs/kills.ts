import type { Page } from 'puppeteer-core'
import { crash, type DevTools, freeze, hang, type TabsSite, tell } from '../../shared/tabsSite'

/** A place for a tab. `out`: it cannot be asked now. */
export interface Slot {
  readonly search: string
  page: Page
  state: 'live' | 'out'
}

export interface World {
  readonly site: TabsSite
  readonly slots: readonly Slot[]
  /** A page for a slot, in front. */
  readonly open: (search: string) => Promise<Page>
  /** Another tab than that of the slot comes to the front. */
  readonly front: (than: Slot) => Promise<void>
}

/** Something that happens to a tab, or to all of them. Resolves once it is over. */
export type Kill = (world: World, slot: Slot) => Promise<unknown>

/** Longer than a leader may be silent, ms. */
const HANGING = 12_000

/** The tab cannot be asked meanwhile. */
const out =
  (kill: Kill): Kill =>
  async (world, slot) => {
    slot.state = 'out'
    await kill(world, slot)
    slot.state = 'live'
  }

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, Math.max(0, ms)))

const toolsOf = async ({ page }: Slot) => (await page.createCDPSession()) as DevTools

/** The tab is gone; a new one is opened in its place. */
async function replace({ open }: World, slot: Slot) {
  // A page that has crashed may never answer.
  await Promise.race([slot.page.close().catch(() => {}), pause(2_000)])
  slot.page = await open(slot.search)
}

const cut = async ({ site }: { readonly site: TabsSite }) => site.server.destroySockets()

export const KILLS: Readonly<Record<string, Kill>> = {
  crash: out(async (world, slot) => {
    crash(await toolsOf(slot))
    await replace(world, slot)
  }),
  freeze: out(async ({ front }, slot) => {
    const thaw = await freeze(await toolsOf(slot))
    await front(slot)
    await pause(4_000)
    await thaw()
  }),
  close: out(replace),
  'away and back': out(async ({ site }, { page }) => {
    await page.goto(`${site.origin}/other`)
    await pause(1_000)
    page.evaluate('history.back()').catch(() => {})
    for (let tries = 0; tries < 100 && !(await tell(page).catch(() => null)); tries++) await pause(100)
  }),
  offline: async (world) => {
    const all = async (isOffline: boolean) => {
      for (const { page } of world.slots) await page.setOfflineMode(isOffline)
    }
    await all(true)
    // What is under way goes on, says Chromium.
    await cut(world)
    await pause(1_500)
    await all(false)
  },
  hang: out(async ({ front }, slot) => {
    const goOn = await hang(slot.page, await toolsOf(slot))
    // As a user does. No hidden tab steals a lock.
    await front(slot)
    await pause(HANGING)
    await goOn()
  }),
  reload: out((_, { page }) => page.reload()),
  'sockets cut': cut,
  // It comes back with the next page.
  'end of the worker': out(async (world, { page }) => {
    await page.evaluate('endWorker()')
    await cut(world)
    await page.reload()
  }),
}
