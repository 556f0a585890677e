/** What a run says besides the texts of its producer. */
export const START = 'run.started'
export const END = 'run.ended'

/** An event of a session, told in one text. */
export const tell = ({ type, what, run, reason }: Readonly<Record<string, unknown>>): string =>
  typeof what === 'string' ? what : [type, run, reason].filter((part) => part !== undefined).join(' ')

/** Published to the session by somebody else. */
const BESIDE = /^p\d+$/

/** What was asked for in one run, in this order. */
export interface Asked {
  readonly whats: readonly string[]
}

/**
 * The rules of runs that a session's events break. `asked` by the name of the run, as its receipt
 * says.
 */
export function checkRuns(sessionId: string, events: readonly string[], asked: ReadonlyMap<string, Asked>): string[] {
  const violations: string[] = []
  const reasons = new Map<string, string>()
  let active: { readonly run: string; readonly said: string[] } | undefined
  const blame = (rule: string) => void violations.push(`${rule} (${sessionId})`)
  for (const event of events) {
    const [type, run = '', reason = ''] = event.split(' ')
    if (type === START) {
      if (active) blame(`run ${run} has started while ${active.run} has not ended`)
      if (reasons.has(run)) blame(`run ${run} has started again after its end`)
      active = { run, said: [] }
    } else if (type === END) {
      if (reasons.has(run)) blame(`run ${run} has ended twice`)
      if (active?.run !== run) blame(`run ${run} has ended, and was not active`)
      reasons.set(run, reason)
      const wanted = asked.get(run)?.whats
      const said = active?.said ?? []
      if (wanted && !said.every((what, index) => what === wanted[index])) blame(`run ${run} has said ${said}`)
      if (wanted && reason === 'finished' && said.length !== wanted.length) blame(`run ${run} is cut, and 'finished'`)
      active = undefined
    } else if (BESIDE.test(event)) continue
    else if (active) active.said.push(event)
    else blame(`'${event}' was said outside of a run`)
  }
  if (active) blame(`run ${active.run} has not ended`)
  for (const run of asked.keys()) if (!reasons.has(run)) blame(`run ${run} has a receipt, and no end`)
  return violations
}

/** Whether a run of these events has not ended. */
export const isActive = (events: readonly string[]): boolean => {
  const last = events.findLast((event) => event.startsWith(START) || event.startsWith(END))
  return last?.startsWith(START) === true
}

/** How many runs of these events ended how. */
export function countEnds(events: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const event of events) {
    const [type, , reason = ''] = event.split(' ')
    if (type === END) counts[reason] = (counts[reason] ?? 0) + 1
  }
  return counts
}
