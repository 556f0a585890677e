import type { Connection, TraceStep } from 'holdline'
import { Charts, delaysOf } from './charts'
import { byId, setText } from './dom'
import { createScrubber } from './scrubber'
import { clockTime, createTimeline, type Entry, nameOf, short } from './timeline'
import { bindTraceFile, inWords, type Loaded, verdictOf } from './traceFile'
import { type View, viewOf } from './view'

/** What is needed of a connection, of whatever messages. */
export type Traced = Pick<Connection, 'trace' | 'actor'>

export interface Compared {
  readonly connection: Traced
  readonly other: Traced | undefined
}

export interface TraceHandlers {
  compared(): Compared
  /** A step is looked at that is not the last one. */
  onLook(): void
}

const OPEN = 'active.streaming.open'

/** The chart and the timeline of one trace, at one moment. */
export class TraceView {
  readonly #compared: () => Compared
  readonly #onLook: () => void
  readonly #charts = new Charts()
  readonly #timeline = byId('timeline', 'ol')
  readonly #renderScrubber
  readonly #renderEntries
  #loaded: Loaded | undefined
  /** undefined: the last step that there is. */
  #position: number | undefined
  /** Shown before. */
  #before: TraceStep | undefined
  /** The last one that there was, whatever was shown. */
  #newest: TraceStep | undefined

  constructor({ compared, onLook }: TraceHandlers) {
    this.#compared = compared
    this.#onLook = onLook
    const goTo = (number: number) => this.#lookAt(number)
    this.#renderScrubber = createScrubber({ goTo, goLive: () => this.goLive() })
    this.#renderEntries = createTimeline(this.#timeline, goTo)
    bindTraceFile({ trace: () => this.#look().trace, show: (file) => this.#load(file), tell })
  }

  goLive() {
    this.#loaded = undefined
    tell('')
    this.#goTo(undefined)
  }

  /** When an open line was lost last; or else the first step that there is. */
  showLoss() {
    const { steps, dropped } = this.#compared().connection.trace()
    const lost = steps.findLastIndex(({ from, to }) => from.startsWith(OPEN) && to === 'active.backoff')
    this.#loaded = undefined
    this.#lookAt(dropped + Math.max(0, lost))
  }

  /**
   * Again, if there is anything new: an outbox tells nobody that it moves, and timers count down.
   */
  readonly refresh = () => {
    const isNew = !this.#loaded && this.#compared().connection.trace().steps.at(-1) !== this.#newest
    if (isNew || this.#charts.isMoving) this.render()
  }

  readonly render = () => {
    const view = this.#look()
    this.#newest = view.trace.steps.at(-1)
    if (view.isLive) this.#charts.pass(this.#newOf(view.past))
    const other = this.#otherState()
    const delays = this.#loaded ? undefined : delaysOf(this.#compared().connection)
    this.#describe(view, this.#charts.show(view, { delays, other }), other)
    this.#renderEntries(this.#entriesOf(view))
    if (view.step === this.#before) return
    this.#before = view.step
    this.#charts.follow()
    this.#timeline.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' })
  }

  #lookAt(number: number) {
    this.#goTo(number)
    this.#onLook()
  }

  #goTo(number: number | undefined) {
    this.#position = number
    this.render()
  }

  #load(file: Loaded) {
    const { divergence } = file.replay
    this.#loaded = file
    tell(verdictOf(file), divergence !== null)
    // Where it went another way, or else its end.
    this.#goTo(divergence ? file.trace.dropped + divergence.index : undefined)
  }

  #look(): View {
    const trace = this.#loaded?.trace ?? this.#compared().connection.trace()
    return viewOf(trace, this.#position, this.#loaded !== undefined)
  }

  #newOf(steps: readonly TraceStep[]): readonly TraceStep[] {
    // None that was seen: it is another trace.
    const seen = this.#before ? steps.lastIndexOf(this.#before) : -1
    return seen < 0 ? [] : steps.slice(seen + 1)
  }

  /** To compare with, where that makes sense: now. */
  #otherState(): string | undefined {
    const { other } = this.#compared()
    if (!other || this.#loaded || this.#position !== undefined) return undefined
    return other.trace().steps.findLast(({ machine }) => machine === 'connection')?.to ?? 'idle'
  }

  #describe({ trace, step, shown, last, now, isLive }: View, state: string, other: string | undefined) {
    const text = step ? inWordsOf(step) : 'nothing happened yet'
    const time = clockTime(new Date(trace.startedAt + now))
    document.body.classList.toggle('is-past', !isLive)
    const dashed = other ? `; dashed: the other client, in ${short(other)}` : ''
    setText(byId('caption', 'p'), isLive ? short(state) + dashed : `step ${shown + 1} of ${last + 1}, ${time}: ${text}`)
    this.#renderScrubber({ first: trace.dropped, last, shown, isLive, isFile: this.#loaded !== undefined, text })
  }

  /** Newest first. */
  #entriesOf({ trace, shown, isLive }: View): readonly Entry[] {
    const { steps, startedAt, dropped } = trace
    const divergence = this.#loaded?.replay.divergence
    // A step tells what was known before it, so the next one tells what came of it.
    let attempt = this.#loaded ? undefined : this.#compared().connection.actor.getSnapshot().context.attempt
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
}

function tell(text: string, isOtherwise = false) {
  const verdict = byId('verdict', 'div')
  verdict.hidden = text === ''
  verdict.classList.toggle('otherwise', isOtherwise)
  setText(verdict, text)
}

const inWordsOf = ({ event, from, to, refused }: TraceStep) =>
  refused ? `${nameOf(event)}, refused in ${short(from)}` : `${nameOf(event)}, now in ${short(to)}`
