import type { Connection, Trace, TraceStep } from 'holdline'
import { type Chart, createChart } from './chart'
import { byId, setText } from './dom'
import { createFrame } from './frame'
import { PHASES } from './lineView'
import { type Moment, momentAfter, waysOf } from './moment'
import { createScrubber } from './scrubber'
import { clockTime, createTimeline, nameOf, short } from './timeline'
import { bindTraceFile, inWords, type Loaded, verdictOf } from './traceFile'

/** How long a refused event is shown where it was refused, ms. */
const REFUSAL_SHOWN = 2_500

/** What is needed of a connection, of whatever messages. */
export type Traced = Pick<Connection, 'trace' | 'actor'>

export interface Compared {
  readonly connection: Traced
  readonly other: Traced | undefined
}

/** The moment that is looked at: now, or where the slider stands, or in a file. */
interface View {
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

/** The chart and the timeline of one trace, at one moment. */
export function createTraceView(compared: () => Compared) {
  const { frame, connection, outbox, follow } = createFrame()
  const charts = { connection: createChart(connection), outbox: createChart(outbox) }
  const renderScrubber = createScrubber({ goTo, goLive })
  const timeline = byId('timeline', 'ol')
  const renderEntries = createTimeline(timeline, goTo)
  let loaded: Loaded | undefined
  /** undefined: the last step that there is. */
  let position: number | undefined
  /** Shown before. */
  let before: TraceStep | undefined

  function goTo(number: number | undefined) {
    position = number
    render()
  }

  function goLive() {
    loaded = undefined
    tell('')
    goTo(undefined)
  }

  function look(): View {
    const trace = loaded?.trace ?? compared().connection.trace()
    const { startedAt, dropped, steps } = trace
    const last = dropped + steps.length - 1
    const shown = Math.max(dropped, Math.min(position ?? last, last))
    const past = steps.slice(0, shown - dropped + 1)
    const step = past.at(-1)
    const isLive = !loaded && position === undefined
    return { trace, past, step, shown, last, isLive, now: isLive ? Date.now() - startedAt : (step?.at ?? 0) }
  }

  function render() {
    const view = look()
    const { trace, past, step, shown, last, isLive } = view
    if (isLive) pass(past)
    show('outbox', view)
    const { state } = show('connection', view)
    frame.dataset.phase = Object.keys(PHASES).find((phase) => state.split('.').includes(phase))
    connection.setAttribute('aria-label', `The statechart, ${isLive ? 'now' : 'then'} in ${state}`)

    const text = step ? inWordsOf(step) : 'nothing happened yet'
    const time = clockTime(new Date(trace.startedAt + view.now))
    document.body.classList.toggle('is-past', !isLive)
    const other = otherState()
    const dashed = other ? `; dashed: the other client, in ${short(other)}` : ''
    setText(byId('caption', 'p'), isLive ? short(state) + dashed : `step ${shown + 1} of ${last + 1}, ${time}: ${text}`)
    renderScrubber({ first: trace.dropped, last, shown, isLive, isFile: loaded !== undefined, text })
    renderEntries(entries(view))
    if (step === before) return
    before = step
    follow()
    timeline.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' })
  }

  function show(machine: TraceStep['machine'], { past, step, now, isLive }: View): Moment {
    const chart = charts[machine]
    const own = past.filter((one) => one.machine === machine)
    const moment = momentAfter(own, chart.ways, machine === 'connection' ? 'idle' : 'held')
    const refusals = own.filter((one) => one.refused && (isLive ? now - one.at < REFUSAL_SHOWN : one === step))
    const other = machine === 'connection' ? otherState() : undefined
    chart.show({ moment, refusals, timers: timersAt(chart, moment, now), other })
    return moment
  }

  /** To compare with, where that makes sense: now. */
  function otherState(): string | undefined {
    const { other } = compared()
    if (!other || loaded || position !== undefined) return undefined
    return other.trace().steps.findLast(({ machine }) => machine === 'connection')?.to ?? 'idle'
  }

  function timersAt(chart: Chart, { since, delay }: Moment, now: number): ReadonlyMap<string, number> {
    const running = [...since].flatMap(([state, at]) =>
      chart.timersOf(state).map((timer) => [timer, (delayOf(timer) ?? delay ?? 0) - (now - at)] as const),
    )
    return new Map(running.filter(([, left]) => left > 0))
  }

  /**
   * A trace holds the waits that were drawn. How long the other timers run is the connection's to
   * know; of a file it is not known.
   */
  function delayOf(timer: string): number | undefined {
    const [, , name = ''] = timer.split('.')
    const isDrawn = name === 'backoffDelay'
    if (isDrawn) return undefined
    if (loaded) return 0
    const { timeouts, backoff } = compared().connection.actor.getSnapshot().context.policy
    const known: Record<string, number> = { ...timeouts, stable: backoff.stableDelay }
    return known[name.replace(/Timeout|Delay/, '')]
  }

  /** Several steps may come between two looks; the way that they took is lit as well. */
  function pass(steps: readonly TraceStep[]) {
    // None that was seen: it is another trace.
    const seen = before ? steps.lastIndexOf(before) : -1
    const isNew = seen < 0 ? [] : steps.slice(seen + 1)
    for (const [machine, { pass, ways }] of Object.entries(charts)) {
      const own = isNew.filter((step) => step.machine === machine)
      if (own.length > 1) pass(own.flatMap((step) => waysOf(step, ways)))
    }
  }

  function entries({ trace, shown, isLive }: View) {
    const { steps, startedAt, dropped } = trace
    const divergence = loaded?.replay.divergence
    // A step tells what was known before it, so the next one tells what came of it.
    let attempt = loaded ? undefined : compared().connection.actor.getSnapshot().context.attempt
    return steps
      .map((step, index) => ({ step, number: dropped + index }))
      .reverse()
      .map(({ step, number }) => {
        const after = attempt ?? step.attempt
        if (step.machine === 'connection') attempt = step.attempt
        return {
          number,
          step,
          startedAt,
          attempt: after,
          isShown: !isLive && number === shown,
          otherwise: divergence?.index === number - dropped ? inWords(divergence.replayed) : undefined,
        }
      })
  }

  bindTraceFile({
    trace: () => look().trace,
    show(file) {
      loaded = file
      const { divergence } = file.replay
      tell(verdictOf(file), divergence !== null)
      // Where it went another way, or else its end.
      goTo(divergence ? file.trace.dropped + divergence.index : undefined)
    },
    tell,
  })

  return { render, goLive }
}

function tell(text: string, isOtherwise = false) {
  const verdict = byId('verdict', 'div')
  verdict.hidden = text === ''
  verdict.classList.toggle('otherwise', isOtherwise)
  setText(verdict, text)
}

const inWordsOf = ({ event, from, to, refused }: TraceStep) =>
  refused ? `${nameOf(event)}, refused in ${short(from)}` : `${nameOf(event)}, now in ${short(to)}`
