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

const SVG = 'http://www.w3.org/2000/svg'
// Of refusals, in the chart's units.
const LINE_HEIGHT = 26
/** To the side of the box of its state. */
const GAP = 10
/** A box that is as wide has room for one beside its name. */
const ROOMY = 300

interface Line {
  readonly element: SVGTextElement
  readonly way: Way
  readonly text: string
}

/**
 * Lights the chart that the server has drawn from the machine. It decides nothing: what to show is
 * told.
 */
export class Chart {
  /** All transitions. */
  readonly ways: readonly Way[]
  readonly #svg: SVGSVGElement
  readonly #states: readonly SVGGElement[]
  readonly #arrows: readonly SVGGElement[]
  readonly #lines: readonly Line[]
  readonly #badges = new Map<TraceStep, SVGTextElement>()
  /** Whether a timer runs, or a refusal is shown for a while. */
  isMoving = false

  constructor(svg: SVGSVGElement) {
    this.#svg = svg
    this.#states = [...svg.querySelectorAll<SVGGElement>('.state')]
    this.#arrows = [...svg.querySelectorAll<SVGGElement>('.arrow')]
    this.#lines = [...svg.querySelectorAll<SVGTextElement>('[data-event]')].map((element) => {
      const { event = '', from = '', to } = element.dataset
      return { element, way: { event, from, to }, text: element.textContent ?? '' }
    })
    this.ways = this.#lines.map(({ way }) => way)
  }

  /** The timers that run in a state, by their events. */
  timersOf(path: string): readonly string[] {
    return this.#states.find(({ dataset }) => dataset.state === path)?.dataset.timers?.split(' ') ?? []
  }

  show({ moment, timers, refusals, other }: Shown) {
    for (const { classList, dataset } of this.#states) {
      classList.toggle('lit', isWithin(moment.state, dataset.state ?? ''))
      classList.toggle('other', other !== undefined && isWithin(other, dataset.state ?? ''))
    }
    this.#light(moment.ways, true)
    this.#showTimers(timers)
    this.#showRefusals(refusals)
    this.isMoving = timers.size > 0 || refusals.length > 0
  }

  /** What is passed on the way to what `show` shows next: it was lit, and fades from there. */
  pass(ways: readonly Way[]) {
    this.#light(ways, false)
    // The stylesheet fades what the browser has seen lit.
    this.#svg.getBoundingClientRect()
  }

  #light(taken: readonly Way[], isToBeDark: boolean) {
    for (const { element, way } of this.#lines) {
      const isTaken = taken.some(({ event, from, to }) => way.event === event && way.from === from && way.to === to)
      if (isTaken || isToBeDark) element.classList.toggle('taken', isTaken)
    }
    for (const arrow of this.#arrows) arrow.classList.toggle('taken', arrow.querySelector('.taken') !== null)
  }

  #showTimers(timers: ReadonlyMap<string, number>) {
    for (const { element, way, text } of this.#lines) {
      const left = timers.get(way.event)
      const shown = left === undefined ? text : `${text} ${(left / 1_000).toFixed(1)}s`
      element.classList.toggle('running', left !== undefined)
      if (element.textContent !== shown) element.textContent = shown
    }
  }

  #showRefusals(refusals: readonly TraceStep[]) {
    for (const [step, badge] of this.#badges) {
      if (refusals.includes(step)) continue
      badge.remove()
      this.#badges.delete(step)
    }
    for (const step of refusals) this.#mark(step)
    for (const state of this.#states) {
      state.classList.toggle(
        'refusing',
        refusals.some(({ from }) => from === state.dataset.state),
      )
    }
  }

  #mark(step: TraceStep) {
    const [name, box] = ['.name', 'path'].map((part) =>
      this.#svg.querySelector<SVGGraphicsElement>(`[data-state="${step.from}"] > ${part}`),
    )
    // What is not drawn has no box.
    if (this.#badges.has(step) || !name || !box || !this.#svg.checkVisibility()) return
    const before = [...this.#badges.keys()].filter(({ from }) => from === step.from).length
    const { x, width } = box.getBBox()
    const isRoomy = width > ROOMY
    const badge = document.createElementNS(SVG, 'text')
    badge.setAttribute('class', isRoomy ? 'refusal inside' : 'refusal')
    badge.setAttribute('x', String(x + width + (isRoomy ? -GAP : GAP)))
    badge.setAttribute('y', String(Number(name.getAttribute('y')) + before * LINE_HEIGHT))
    badge.textContent = `✕ ${step.event}`
    this.#svg.firstElementChild?.append(badge)
    this.#badges.set(step, badge)
  }
}
