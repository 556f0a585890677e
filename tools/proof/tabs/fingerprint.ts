import type { ModelBrowser } from './modelBrowser'
import type { Inside, ModelTab } from './modelTab'

/**
 * Everything that decides the future of a browser, as far as it can be seen, with names and times
 * relative. What the leading tab keeps of the sessions of others, and which frame a tab has heard
 * last, is private: it is told by what was asked on each stream, and by what was said last.
 */
export function fingerprint(browser: ModelBrowser): string {
  const { present, pipes, locks, isOffline, heads, restarts, server, served } = browser
  const names = namesIn(browser)
  const text = JSON.stringify([
    present.map((tab) => [tab.name, ...ofTab(tab, browser)]),
    served
      .filter(({ isCut, stream }) => !isCut && !stream.isClosed)
      .map(({ tab, asked, connectionId }) => [tab.name, connectionId, [...asked].sort()]),
    pipes.list(),
    [...pipes.held].sort(),
    locks.holders,
    locks.waiters,
    isOffline,
    [...heads],
    restarts,
    server.commands.length,
    browser.timeline.now() - browser.lostAt < 2_500,
  ])
  return names.reduce((all, [given, name]) => all.replaceAll(given, name), text)
}

/** Random names and rising numbers, and names for them that do not depend on the path. */
function namesIn({ present, served }: ModelBrowser): readonly (readonly [string, string])[] {
  const tabs = present.flatMap(({ name, machine }) =>
    machine ? [[String(machine.getSnapshot().context.tab), `tab ${name}`] as const] : [],
  )
  const terms = present.flatMap(({ machine }) => (machine ? Number(machine.getSnapshot().context.term) : []))
  const ranks = [...new Set(terms)].sort().map((term, rank) => [String(term), `term ${rank}`] as const)
  const live = served.filter(({ stream, isCut }) => !isCut && !stream.isClosed)
  const lines = live.map(({ connectionId }, index) => [`"${connectionId}"`, `"line ${index}"`] as const)
  return [...tabs, ...ranks.filter(([term]) => term !== '0'), ...lines]
}

function ofTab(tab: ModelTab, browser: ModelBrowser): readonly unknown[] {
  const { rest, page, connection, machine, clock, had, sent, unanswered, open, misses, isOpen } = tab
  return [
    rest,
    page.document?.visibilityState,
    ofConnection(connection.actor as unknown as Inside),
    machine && ofMachine(machine, browser),
    clock.pending,
    [...had],
    sent.map(({ delivery }) => delivery.status),
    unanswered.map(({ endpoint }) => endpoint),
    open.length,
    misses,
    isOpen,
    connection.connectionId,
  ]
}

function ofConnection(actor: Inside) {
  const { value, context, children } = actor.getSnapshot()
  const { attempt, fruitless, flaps, refusals, farewell, trust, resumes } = context
  return [
    value,
    Math.min(Number(attempt), 5),
    fruitless,
    flaps,
    refusals,
    farewell,
    trust,
    Math.min(Number(resumes), 2),
    children.outbox?.getSnapshot().value,
  ]
}

function ofMachine(machine: Inside, { timeline }: ModelBrowser) {
  const { value, context } = machine.getSnapshot()
  const { standing, term, leader, line, stream, stolenAt } = context
  return [value, standing, term, leader, line, stream, Math.min(timeline.now() - Number(stolenAt), 60_000)]
}
