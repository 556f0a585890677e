import type { TraceStep } from 'holdline'
import { isWithin, type Moment, type Way } from './moment'

export interface Shown {
  readonly moment: Moment
  /** ms left of each running timer, by its event. */
  readonly timers: ReadonlyMap<string, number>
  /** Refused just now. */
  readonly refusals: readonly TraceStep[]
  /** The state of the other client, to compare. */
  readonly other: string | undefined
}

export type Chart = ReturnType<typeof createChart>

const SVG = 'http://www.w3.org/2000/svg'
/** Of a refusal, above the name of its state. In the chart's units. */
const [ABOVE, LINE_HEIGHT] = [40, 34]

/**
 * Lights the chart that the server has drawn from the machine. It decides nothing: what to show is
 * told.
 */
export function createChart(svg: SVGSVGElement) {
  // Not those of a chart that stands in this one.
  const all = <Found extends SVGElement>(selector: string) =>
    [...svg.querySelectorAll<Found>(selector)].filter(({ ownerSVGElement }) => ownerSVGElement === svg)
  const states = all<SVGGElement>('.state')
  const arrows = all<SVGGElement>('.arrow')
  const lines = all<SVGTextElement>('[data-event]').map((element) => {
    const { event = '', from = '', to } = element.dataset
    return { element, way: { event, from, to } satisfies Way, text: element.textContent ?? '' }
  })
  const badges = new Map<TraceStep, SVGTextElement>()

  function light(taken: readonly Way[], isToBeDark: boolean) {
    for (const { element, way } of lines) {
      const isTaken = taken.some(({ event, from, to }) => way.event === event && way.from === from && way.to === to)
      if (isTaken || isToBeDark) element.classList.toggle('taken', isTaken)
    }
    for (const arrow of arrows) arrow.classList.toggle('taken', arrow.querySelector('.taken') !== null)
  }

  function showRefusals(refusals: readonly TraceStep[]) {
    for (const [step, badge] of badges) {
      if (refusals.includes(step)) continue
      badge.remove()
      badges.delete(step)
    }
    for (const step of refusals) {
      const name = svg.querySelector(`[data-state="${step.from}"] > .name`)
      if (badges.has(step) || !name) continue
      const below = [...badges.keys()].filter(({ from }) => from === step.from).length
      const badge = document.createElementNS(SVG, 'text')
      badge.setAttribute('class', 'refusal')
      badge.setAttribute('x', name.getAttribute('x') ?? '')
      badge.setAttribute('y', String(Number(name.getAttribute('y')) - ABOVE - below * LINE_HEIGHT))
      badge.textContent = `✕ ${step.event}`
      svg.firstElementChild?.append(badge)
      badges.set(step, badge)
    }
    for (const state of states) {
      state.classList.toggle(
        'refusing',
        refusals.some(({ from }) => from === state.dataset.state),
      )
    }
  }

  return {
    /** All transitions. */
    ways: lines.map(({ way }) => way),
    /** The timers that run in a state, by their events. */
    timersOf: (path: string): readonly string[] =>
      states.find(({ dataset }) => dataset.state === path)?.dataset.timers?.split(' ') ?? [],

    show({ moment, timers, refusals, other }: Shown) {
      for (const { classList, dataset } of states) {
        classList.toggle('lit', isWithin(moment.state, dataset.state ?? ''))
        classList.toggle('other', other !== undefined && isWithin(other, dataset.state ?? ''))
      }
      light(moment.ways, true)
      for (const { element, way, text } of lines) {
        const left = timers.get(way.event)
        const shown = left === undefined ? text : `${text} ${(left / 1_000).toFixed(1)}s`
        element.classList.toggle('running', left !== undefined)
        if (element.textContent !== shown) element.textContent = shown
      }
      showRefusals(refusals)
    },

    /** What is passed on the way to what `show` shows next: it was lit, and fades from there. */
    pass(ways: readonly Way[]) {
      light(ways, false)
      // The stylesheet fades what the browser has seen lit.
      svg.getBoundingClientRect()
    },
  }
}
