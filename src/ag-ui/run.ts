import type { BaseEvent, Message } from '@ag-ui/client'
import type { JsonObject } from '../protocol'
import { Openings } from './openings'

/** A run that no agent of this page reads. */
export interface RunNews {
  readonly threadId: string
  /** Its name in `run.started`. */
  readonly run: string
}

export type RunListener = (news: RunNews) => void

/** One run of a thread, from its begin on, as far as it has come. */
export class Run {
  state: 'running' | 'suspended' | 'ended' = 'running'
  readonly events: BaseEvent[] = []
  /**
   * The last message that it was asked with, and the state: what a page needs that shows the run
   * anew.
   */
  asked: { readonly last?: unknown; readonly state?: unknown } = {}
  #openings = new Openings()

  constructor(readonly id: string) {}

  /** It comes again, from its first event. */
  restart() {
    this.events.length = 0
    this.state = 'running'
  }

  /**
   * Its begin, or an answer to what it waited for. What follows is a run of its own in the eyes of
   * AG-UI.
   */
  ask(asked: Run['asked']) {
    if (this.events.length === 0) this.asked = asked
    this.#openings = new Openings()
  }

  push(event: BaseEvent) {
    this.events.push(event)
    this.#openings.see(event)
  }

  /**
   * How many of its events may be told. That it is over is told when the next one may begin: the
   * last event waits for `run.ended`.
   */
  get told(): number {
    return this.events.length - (this.state === 'running' && this.#openings.isOver ? 1 : 0)
  }

  end(reason: unknown) {
    if (this.state === 'ended') return
    this.state = 'ended'
    if (this.#openings.isOver) return
    if (reason === 'stopped') for (const event of this.cancelled()) this.push(event)
    else this.push(reason === 'failed' || reason === 'finished' ? failed() : interrupted())
  }

  /**
   * What tells a reader who has read all of it that it goes no further; nothing, if it has not
   * begun.
   */
  cancelled(): readonly BaseEvent[] {
    return this.#openings.isOver ? this.events.slice(-1) : this.#openings.cancelled()
  }

  /** What the run adds to the messages of the thread, as its `RUN_STARTED` says. */
  get prompt(): readonly Message[] {
    const { input }: JsonObject = Object(this.events[0])
    const { messages }: JsonObject = Object(input)
    return Array.isArray(messages) ? messages : []
  }
}

export const errorEvent = (code: string, message: string) =>
  ({ type: 'RUN_ERROR', code, message }) as unknown as BaseEvent

const failed = () => errorEvent('run-failed', 'the server failed while it made this answer: ask again')

export const interrupted = () =>
  errorEvent('run-interrupted', 'the server lost this answer before its end: what is missing will not come, ask again')
