import type { Connection, TraceStep } from 'holdline'
import { Chart } from './chart'
import { byId, setAttribute } from './dom'
import { createFrame } from './frame'
import { PHASES } from './lineView'
import { type Moment, momentAfter, waysOf } from './moment'
import type { View } from './view'

/** How long a refused event is shown where it was refused, ms. */
const REFUSAL_SHOWN = 2_500

/** How long the timers of a connection run, ms, by their names. */
export type Delays = Readonly<Record<string, number>>

export interface Beside {
  /** Unknown of a file. */
  readonly delays: Delays | undefined
  /** The state of the other client, to compare. */
  readonly other: string | undefined
}

/** The charts of both machines. */
export class Charts {
  readonly #stage = byId('stage', 'section')
  readonly #frame = createFrame()
  readonly #charts = {
    connection: new Chart(this.#frame.connection),
    outbox: new Chart(this.#frame.outbox),
  }

  /** Returns the state of the connection at that moment. */
  show(view: View, beside: Beside): string {
    const { state: outbox } = this.#show('outbox', view, { ...beside, other: undefined })
    const { state } = this.#show('connection', view, beside)
    const when = view.isLive ? 'now' : 'then'
    const phase = Object.keys(PHASES).find((one) => state.split('.').includes(one))
    setAttribute(this.#stage, 'data-phase', phase ?? '')
    setAttribute(this.#frame.connection, 'aria-label', `The statechart, ${when} in ${state}`)
    setAttribute(this.#frame.outbox, 'aria-label', `The statechart of the outbox, ${when} in ${outbox}`)
    return state
  }

  /** Several steps may come between two looks; the way that they took is lit as well. */
  pass(steps: readonly TraceStep[]) {
    for (const [machine, chart] of Object.entries(this.#charts)) {
      const own = steps.filter((step) => step.machine === machine)
      if (own.length > 1) chart.pass(own.flatMap((step) => waysOf(step, chart.ways)))
    }
  }

  follow() {
    this.#frame.follow()
  }

  /** Whether time alone changes what is shown. */
  get isMoving() {
    return Object.values(this.#charts).some((chart) => chart.isMoving)
  }

  #show(machine: 'connection' | 'outbox', { past, step, now, isLive }: View, { delays, other }: Beside): Moment {
    const chart = this.#charts[machine]
    const own = past.filter((one) => one.machine === machine)
    const moment = momentAfter(own, chart.ways, machine === 'connection' ? 'idle' : 'held')
    const refusals = own.filter((one) => one.refused && (isLive ? now - one.at < REFUSAL_SHOWN : one === step))
    chart.show({ moment, refusals, timers: timersAt(chart, moment, now, delays), other })
    return moment
  }
}

function timersAt(chart: Chart, { since, delay }: Moment, now: number, delays: Delays | undefined) {
  const running = [...since].flatMap(([state, at]) =>
    chart.timersOf(state).map((timer) => [timer, (delayOf(timer, delays) ?? delay ?? 0) - (now - at)] as const),
  )
  return new Map(running.filter(([, left]) => left > 0))
}

/**
 * A trace holds the waits that were drawn. How long the other timers run is the connection's to
 * know; of a file it is not known.
 */
function delayOf(timer: string, delays: Delays | undefined): number | undefined {
  const [, , name = ''] = timer.split('.')
  const isDrawn = name === 'backoffDelay'
  if (isDrawn) return undefined
  return delays ? delays[name.replace(/Timeout|Delay/, '')] : 0
}

export function delaysOf({ actor }: Pick<Connection, 'actor'>): Delays {
  const { timeouts, backoff } = actor.getSnapshot().context.policy
  return { ...timeouts, stable: backoff.stableDelay }
}
