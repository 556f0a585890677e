import type { ModelBrowser } from './modelBrowser'
import type { ModelTab } from './modelTab'
import { BEAT, groupBy, groupOf, judge, knowsOld, nothingInIdle } from './promises'

/** A calm browser has everything long before, ms: a backoff, and a tab that is not heard. */
const PATIENCE = 180_000
/** How often it is looked at, ms. */
const STEP = 500

/**
 * I9: everything wakes up, arrives and is shown; then each tab becomes live and has everything,
 * over one stream for those that share. And at the end, when all disconnect, nothing is left.
 */
export async function calm(browser: ModelBrowser) {
  const { pipes, present, isOffline } = browser
  browser.isOffline = false
  pipes.held.clear()
  for (const tab of present) {
    tab.misses = 0
    if (!tab.isAwake) tab.wake()
    // One that is seen, and a network that is there, are told nothing: that would wake every line.
    if (!tab.isVisible) tab.page.shows()
  }
  await browser.settle()
  for (const { page, connection } of present) {
    if (isOffline) page.comesOnline()
    if (connection.phase === 'idle') connection.connect()
  }
  await reach(browser)
  // A tab that has missed messages learns of it with the next beat.
  if (knowsOld(browser)) await browser.passes(BEAT)
  await reach(browser)
  if (browser.faults.length) return
  // Whatever it was before: it hears what comes now.
  browser.publish('s1')
  await browser.settle()
  const deaf = present.filter((tab) => !isWhole(tab, browser))
  for (const tab of deaf) browser.report('I9', `in the end ${tab.name} does not hear: ${complaint(tab, browser)}`)
  await end(browser)
}

async function reach(browser: ModelBrowser) {
  for (let passed = 0; passed < PATIENCE; passed += STEP) {
    await browser.settle()
    judge(browser)
    if (browser.faults.length || !complaints(browser).length) return
    await browser.passes(STEP)
  }
  browser.report('I9', `calm is of no use: ${complaints(browser).join('; ')}`)
}

const complaints = (browser: ModelBrowser): readonly string[] => [
  ...browser.present.flatMap((tab) => (isWhole(tab, browser) ? [] : complaint(tab, browser))),
  ...streams(browser),
]

/** One stream for all that share, and one for each that does not. */
function streams({ present }: ModelBrowser): readonly string[] {
  const sharing = present.filter(({ role }) => role !== 'own')
  return [...groupBy(sharing, groupOf).values()].flatMap((tabs) => {
    const count = tabs.flatMap(({ open }) => open).length
    return count === 1 ? [] : `${count} streams for ${tabs.map(({ name, role }) => `${name} (${role})`)}`
  })
}

function isWhole({ connection, had, sent }: ModelTab, { heads }: ModelBrowser) {
  const hasAll = [...had].every(([sessionId, seq]) => seq === (heads.get(sessionId) ?? 0))
  return connection.isOpen && hasAll && sent.every(({ verdicts }) => verdicts.length)
}

const complaint = ({ name, role, connection, had, sent }: ModelTab, { heads }: ModelBrowser) =>
  `${name} (${role}) is ${connection.phase}, had ${JSON.stringify([...had])} of ${JSON.stringify([...heads])}, waits for ${sent.filter(({ verdicts }) => !verdicts.length).length} verdicts`

/** I8, of the whole browser. */
async function end(browser: ModelBrowser) {
  const { present, locks } = browser
  for (const { connection } of present) connection.disconnect()
  await browser.settle()
  nothingInIdle(browser, (message) => browser.report('I8', message))
  if (locks.size) browser.report('I8', `${locks.size} locks are left`)
  if (browser.openChannels) browser.report('I8', `${browser.openChannels} channels are left`)
}
