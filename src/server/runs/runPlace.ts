import type { ActiveRuns, BrokenRun, RunReceipt } from './api'

/** A run, and where to follow it from. */
export interface RunPlace {
  readonly run: string | null
  readonly state?: RunReceipt['state']
  readonly after: number
  /** What is beyond it happened after this was said. */
  readonly head: number
  readonly epoch: string
  /** There is no run to follow, and this is why the last prompt has no answer. */
  readonly broken?: BrokenRun
}

/** The place before the run's begin; before whatever comes next, if the run is not active. */
export const placeOf = (
  { run: active, head, epoch }: ActiveRuns,
  run: string | null,
  state: RunReceipt['state'] | undefined,
): RunPlace => ({
  run,
  ...(state && { state }),
  after: active && active.id === run ? active.after : head,
  head,
  epoch,
})

/** The run that is active; else the place before whatever comes next. */
export const placeToResume = (active: ActiveRuns): RunPlace => ({
  ...placeOf(active, active.run?.id ?? null, active.run?.state),
  ...(active.broken && { broken: active.broken }),
})
