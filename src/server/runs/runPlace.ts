import type { ActiveRuns, RunReceipt } from './api'

/** A run, and where to follow it from. */
export interface RunPlace {
  readonly run: string | null
  readonly state?: RunReceipt['state']
  readonly after: number
  /** What is beyond it happened after this was said. */
  readonly head: number
  readonly epoch: string
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
