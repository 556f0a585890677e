import type { Trace, TraceStep } from 'holdline'

/** The moment that is looked at: now, or where the slider stands, or in a file. */
export interface View {
  readonly trace: Trace
  /** The steps up to that moment. */
  readonly past: readonly TraceStep[]
  /** The last of them, and its number since the connection was made. */
  readonly step: TraceStep | undefined
  readonly shown: number
  readonly last: number
  /** ms since the trace began. */
  readonly now: number
  readonly isLive: boolean
}

/** `position` undefined: at the last step that there is. */
export function viewOf(trace: Trace, position: number | undefined, isFile: boolean): View {
  const { startedAt, dropped, steps } = trace
  const last = dropped + steps.length - 1
  const shown = Math.max(dropped, Math.min(position ?? last, last))
  const past = steps.slice(0, shown - dropped + 1)
  const step = past.at(-1)
  const isLive = !isFile && position === undefined
  return { trace, past, step, shown, last, isLive, now: isLive ? Date.now() - startedAt : (step?.at ?? 0) }
}
