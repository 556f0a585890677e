import type { TestPost } from '../../../src/testing/harness/network'
import type { ModelBrowser } from './modelBrowser'
import type { ModelTab } from './modelTab'

// The promises to the tabs of a browser, judged from outside: by streams, POSTs, and what apps are
// told. I6, I7 and I10 are judged as it happens, in `modelTab.ts`.

type Report = (message: string) => void

/** Everything has reached it that others know. */
const isUpToDate = ({ name, isAwake }: ModelTab, { pipes }: ModelBrowser) =>
  isAwake && !pipes.has(`${name} lock`) && !pipes.list(`${name} from`).length

/** Those that share one line, if all is well. */
export const groupOf = ({ settings: { user, build } }: ModelTab) => `${user ?? ''} ${build ?? ''}`

/** As `Map.groupBy`, which Node 20 lacks. */
export function groupBy<Key, Item>(items: readonly Item[], keyOf: (item: Item) => Key) {
  const groups = new Map<Key, Item[]>()
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item])
  return groups
}

/** I1: at most one stream for all tabs that share; none in a tab that does not lead. */
function oneStream(browser: ModelBrowser, report: Report) {
  const { awake } = browser
  for (const { name, role, open, connection } of awake) {
    if (open.length > 1) report(`${name} has ${open.length} streams`)
    if (open.length && role !== 'leading' && role !== 'own') report(`${name} has a stream, and is ${role}`)
    if (open.length && ['idle', 'backoff'].includes(connection.phase))
      report(`${name} has a stream in ${connection.phase}`)
  }
  const known = awake.filter((tab) => tab.role !== 'own' && isUpToDate(tab, browser))
  for (const [group, tabs] of groupBy(known, ({ settings }) => settings.build ?? 0)) {
    const holders = tabs.filter(({ open }) => open.length)
    if (holders.length > 1) report(`${holders.map(({ name }) => name)} have a stream each, in build ${group}`)
  }
}

/** I2: at most one resume in flight on a stream, and by the tab that has it. */
function oneResume({ present, served }: ModelBrowser, report: Report) {
  const resumes = present.flatMap((tab) =>
    tab.unanswered.filter(({ endpoint }) => endpoint === 'reconnect').map((post) => ({ tab, post })),
  )
  for (const [connectionId, posts] of groupBy(resumes, ({ post }) => post.connectionId)) {
    if (posts.length > 1) report(`${posts.length} resumes of ${connectionId}`)
    const holder = served.find((line) => line.connectionId === connectionId)?.tab
    for (const { tab } of posts) if (tab !== holder) report(`${tab.name} resumes the stream of ${holder?.name}`)
  }
}

/** A page may go away while its `suspend` is under way. */
const isFarewell = ({ keepalive }: TestPost) => keepalive

/** I8: of a tab whose connection is idle nothing is left. */
export function nothingInIdle(browser: ModelBrowser, report: Report) {
  for (const tab of browser.awake) {
    const { name, connection, clock, page, open, unanswered, role } = tab
    if (connection.phase !== 'idle') continue
    const timers = clock.pending.length
    if (timers) report(`${name}: ${timers} timers`)
    if (open.length) report(`${name}: a stream`)
    if (page.listeners) report(`${name}: ${page.listeners} page listeners`)
    const left = unanswered.find((post) => !isFarewell(post))
    if (left) report(`${name}: ${left.endpoint} is under way`)
    if (browser.channelsOf(tab)) report(`${name}: a channel`)
    const isToHearOfLock = browser.pipes.has(`${name} lock`)
    if (!isToHearOfLock && [...browser.locks.holders, ...browser.locks.waiters].includes(name))
      report(`${name}: a lock`)
    if (role !== 'apart') report(`${name}: it is ${role}`)
  }
}

/** I5: a verdict comes once, and is true. */
function oneVerdict({ present, server, restarts }: ModelBrowser, report: Report) {
  for (const { sent } of present) {
    for (const { delivery, verdicts } of sent) {
      const applied = server.commands.filter(({ id }) => id === delivery.id).length
      const what = String(delivery.message.prompt)
      if (verdicts.length > 1) report(`${what} has ${verdicts.length} verdicts`)
      // A server that has lost what it had knows no repeats.
      if (applied > 1 && !restarts) report(`${what} was applied ${applied} times`)
      for (const { status } of verdicts) {
        if (status === 'accepted' && !applied) report(`${what} is accepted, and was never applied`)
        if (status === 'rejected' && applied) report(`${what} is rejected, and was applied`)
        if (status === 'unknown') report(`${what} is unknown, and the server recognises repeats`)
      }
    }
  }
}

/** I4: a tab's messages are applied in their order. */
function inOrder({ present, server, restarts }: ModelBrowser, report: Report) {
  if (restarts) return
  for (const { name, sent } of present) {
    const ids = sent.map(({ delivery }) => delivery.id)
    const applied = server.commands.flatMap(({ id }) => (id !== null && ids.includes(id) ? [ids.indexOf(id)] : []))
    if (applied.some((place, index) => index > 0 && place < Number(applied[index - 1])))
      report(`the messages of ${name} were applied as ${applied}`)
  }
}

/** How long what a tab knows may be old after a message was lost: until the next beat. ms */
export const BEAT = 2_500
export const knowsOld = ({ timeline, lostAt }: ModelBrowser) => timeline.now() - lostAt < BEAT

/**
 * Where nothing is on its way and nobody sleeps, a tab that reads open has a stream that lives, and
 * none that leads waits for another one. A tab that goes its own way says why.
 */
function truth(browser: ModelBrowser, report: Report) {
  const { awake, present, pipes, served } = browser
  for (const { name, role, errors } of awake)
    if (role === 'own' && !errors.includes('not-shared')) report(`${name} has a line of its own, and did not say so`)
  if (awake.length < present.length || pipes.list().length || knowsOld(browser)) return
  const live = served.filter(({ isCut, stream }) => !isCut && !stream.isClosed).map(({ connectionId }) => connectionId)
  for (const { name, connection } of awake)
    if (connection.isOpen && !live.includes(connection.connectionId ?? undefined))
      report(`${name} reads open, and its stream is gone`)
  const leaders = awake.filter(({ role }) => role === 'leading')
  for (const tabs of groupBy(leaders, ({ settings }) => settings.build ?? 0).values())
    if (tabs.length > 1) report(`${tabs.map(({ name }) => name)} lead`)
}

const PROMISES = { I1: oneStream, I2: oneResume, I4: inOrder, I5: oneVerdict, I8: nothingInIdle, app: truth } as const

/** To be called when everything has arrived that can. */
export function judge(browser: ModelBrowser) {
  for (const [invariant, promise] of Object.entries(PROMISES))
    promise(browser, (message) => browser.report(invariant as keyof typeof PROMISES, message))
}
