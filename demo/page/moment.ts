import type { TraceStep } from 'holdline'

/** A transition, as the chart has it. `to` is undefined where it only acts. */
export interface Way {
  readonly event: string
  readonly from: string
  readonly to: string | undefined
}

/** What a machine was doing after some step of a trace. */
export interface Moment {
  /** The innermost state: `active.streaming.open.steady`. */
  readonly state: string
  readonly step: TraceStep | undefined
  /** The transitions that were taken last; two where an `always` led on. */
  readonly ways: readonly Way[]
  /**
   * When each of its states was entered, ms in the trace's time. Not told of those that are older
   * than the trace.
   */
  readonly since: ReadonlyMap<string, number>
  /** The wait that the step which began it had drawn, ms. */
  readonly delay: number | undefined
}

/** `steps` are those of one machine, oldest first. Pure. */
export function momentAfter(steps: readonly TraceStep[], ways: readonly Way[], initial: string): Moment {
  let delay: number | undefined
  let taken: readonly Way[] = []
  const since = new Map<string, number>()
  for (const step of steps) {
    if (step.refused) continue
    taken = waysOf(step, ways)
    delay = step.delay ?? delay
    const stays = (state: string) => isWithin(step.from, state) && !taken.some((way) => isLeft(way, state))
    for (const state of since.keys()) if (!isWithin(step.to, state) || !stays(state)) since.delete(state)
    for (const state of outwards(step.to)) if (!since.has(state) && !stays(state)) since.set(state, step.at)
  }
  return { state: steps.at(-1)?.to ?? initial, step: steps.at(-1), ways: taken, since, delay }
}

/** Outermost last: `a.b.c`, `a.b`, `a`, and '' for the machine itself. */
export const outwards = (state: string): readonly string[] => {
  const names = state.split('.')
  return [...names.map((_, index) => names.slice(0, names.length - index).join('.')), '']
}

export const isWithin = (state: string, outer: string) => outer === '' || `${state}.`.startsWith(`${outer}.`)

/** The innermost state that takes the event decides; guards show in where it led to. */
export function waysOf({ event, from, to, refused }: TraceStep, ways: readonly Way[]): readonly Way[] {
  if (refused) return []
  for (const state of outwards(from)) {
    const candidates = ways.filter((way) => way.event === event && way.from === state)
    const direct = candidates.find((way) => (way.to === undefined ? to === from : isWithin(to, way.to)))
    if (direct) return [direct]
    for (const way of candidates) {
      const on = ways.find((other) => other.event === '' && other.from === way.to && other.to === to)
      if (on) return [way, on]
    }
  }
  return []
}

/**
 * The state around all that the transition leaves. It leads to a state in its own: that one stays.
 */
function scopeOf({ from, to }: Way): string | undefined {
  if (to === undefined) return undefined
  if (to !== from && isWithin(to, from)) return from
  return outwards(from).find((state) => state !== from && state !== to && isWithin(to, state))
}

function isLeft(way: Way, state: string): boolean {
  const scope = scopeOf(way)
  return scope !== undefined && state !== scope && isWithin(state, scope)
}
