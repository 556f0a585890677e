import type { Phase } from 'holdline'

export const STEPS = ['cut', 'write', 'restart', 'trace'] as const
export type StepName = (typeof STEPS)[number]

/** What happens on the page, as far as a tour is interested. */
export type Fact =
  | { readonly type: 'phase'; readonly phase: Phase }
  /** A piece of an answer was applied. */
  | { readonly type: 'token'; readonly turnId: string }
  | { readonly type: 'sent'; readonly id: string }
  | { readonly type: 'accepted'; readonly id: string }
  /** The server was told to restart. */
  | { readonly type: 'restarted' }
  /** A step of the trace is looked at that is not the last one. */
  | { readonly type: 'looked' }

/** How far the present step has come. */
export type Progress =
  | { readonly name: 'waiting' }
  | { readonly name: 'typing'; readonly turnId: string }
  | { readonly name: 'cut'; readonly turnId: string }
  | { readonly name: 'written'; readonly id: string }
  | { readonly name: 'restarting' }
  | { readonly name: 'down' }
  | { readonly name: 'done' }

export interface Tour {
  readonly state: 'offered' | 'running' | 'left' | 'finished'
  /** How many steps are done: the index of the present one. */
  readonly done: number
  readonly progress: Progress
  /** Of the line. */
  readonly phase: Phase
}

const WAITING: Progress = { name: 'waiting' }

export const startTour = (): Tour => ({ state: 'offered', done: 0, progress: WAITING, phase: 'idle' })

/** Begins, goes on where it was left, or begins again. Pure, as all of this. */
export function enter(tour: Tour): Tour {
  const done = tour.state === 'finished' ? 0 : tour.done
  return { ...tour, state: 'running', done, progress: WAITING }
}

export const leave = (tour: Tour): Tour =>
  tour.state === 'running' ? { ...tour, state: 'left', progress: WAITING } : tour

export function advance(tour: Tour, fact: Fact): Tour {
  const phase = fact.type === 'phase' ? fact.phase : tour.phase
  const step = STEPS[tour.done]
  if (tour.state !== 'running' || !step) return phase === tour.phase ? tour : { ...tour, phase }
  const progress = PROGRESS[step](tour.progress, fact, phase)
  if (progress.name !== 'done')
    return progress === tour.progress && phase === tour.phase ? tour : { ...tour, progress, phase }
  const done = tour.done + 1
  return { state: done < STEPS.length ? 'running' : 'finished', done, progress: WAITING, phase }
}

/**
 * Of each step, what a fact changes. It is done however that came about: by hand or by its button.
 */
const PROGRESS: Record<StepName, (progress: Progress, fact: Fact, phase: Phase) => Progress> = {
  cut(progress, fact, phase) {
    if (fact.type === 'phase') {
      return progress.name === 'typing' && phase !== 'open' ? { name: 'cut', turnId: progress.turnId } : progress
    }
    if (fact.type !== 'token') return progress
    if (progress.name === 'cut' && progress.turnId === fact.turnId) return { name: 'done' }
    return phase === 'open' ? typing(progress, fact.turnId) : progress
  },

  write(progress, fact, phase) {
    if (fact.type === 'sent' && phase !== 'open') return { name: 'written', id: fact.id }
    const isIt = fact.type === 'accepted' && progress.name === 'written' && progress.id === fact.id
    return isIt ? { name: 'done' } : progress
  },

  restart(progress, fact, phase) {
    if (fact.type === 'restarted') return { name: 'restarting' }
    if (progress.name === 'restarting' && phase !== 'open') return { name: 'down' }
    return progress.name === 'down' && phase === 'open' ? { name: 'done' } : progress
  },

  trace: (progress, fact) => (fact.type === 'looked' ? { name: 'done' } : progress),
}

const typing = (progress: Progress, turnId: string): Progress =>
  progress.name === 'typing' && progress.turnId === turnId ? progress : { name: 'typing', turnId }

/** What is kept of it, as JSON. */
export const save = ({ state, done }: Tour) => JSON.stringify({ state, done })

/** One that was under way goes on. What does not look like one is none. */
export function restore(json: string | null): Tour {
  try {
    const { state, done } = JSON.parse(json ?? '{}')
    const isKnown = ['running', 'left', 'finished'].includes(state) && Number.isInteger(done) && done >= 0
    return isKnown && done <= STEPS.length ? { ...startTour(), state, done } : startTour()
  } catch {
    return startTour()
  }
}
