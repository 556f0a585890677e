import type { BaseEvent } from '@ag-ui/client'
import type { Run } from './run'

/** Who reads one run. */
export interface Reader {
  /** The id of the message that asks for the run; without one, it is told which. */
  readonly key?: string
  /** From here on it is told the events of this run. */
  begin?(run: Run): void
  take(event: BaseEvent): void
  /**
   * The run is over, or goes no further here; without an event, it is an AbortError, or null if
   * there is no run.
   */
  end(error: unknown): void
}

/** How far a reader has got. */
export class Reading {
  /** The name of the run, where that is all that is known of it. */
  expected: string | undefined
  #place: { readonly run: Run; at: number } | undefined
  #state: 'untold' | 'told' | 'over' = 'untold'
  readonly #onEnd: () => void

  constructor(
    readonly reader: Reader,
    onEnd: () => void,
  ) {
    this.#onEnd = onEnd
  }

  /** The run that it reads; `undefined` as long as it waits for one. */
  get run(): Run | undefined {
    return this.#place?.run
  }

  get isOver(): boolean {
    return this.#state === 'over'
  }

  /** What the run is known by here. */
  get name(): string | undefined {
    return this.run?.id ?? this.expected ?? this.reader.key
  }

  read(run: Run, at: number) {
    if (this.#place) return
    this.#place = { run, at }
    this.reader.begin?.(run)
    this.pump()
  }

  pump() {
    const place = this.#place
    if (!place) return
    const { run } = place
    while (place.at < run.told && !this.isOver) {
      const event = run.events[place.at++]
      if (event) this.#tell(event)
    }
    if (run.state !== 'running') this.end()
  }

  end(error: unknown = this.#state === 'untold' ? aborted() : undefined) {
    if (this.isOver) return
    this.leave()
    this.reader.end(error)
  }

  /** It ends without a run. */
  refuse(event: BaseEvent) {
    this.#tell(event)
    this.end()
  }

  /** As if the run had been stopped now. */
  cancel() {
    for (const event of this.run?.cancelled() ?? []) this.#tell(event)
    this.end()
  }

  /** The reader has gone. */
  leave() {
    this.#state = 'over'
    this.#onEnd()
  }

  #tell(event: BaseEvent) {
    this.#state = 'told'
    this.reader.take(event)
  }
}

/** An agent takes it as its own doing, and shows no error. */
export const aborted = () => new DOMException('the run was stopped', 'AbortError')
