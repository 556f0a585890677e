import { errorOf, type Run } from './run'

/** Reads one run: nothing of it, until the run is known, then each item once. */
export abstract class Reader<R extends Run> {
  /** The name of the run, where that is all that is known of it. */
  expected: string | undefined
  /** `undefined` as long as it waits for one. */
  run: R | undefined
  state: 'untold' | 'told' | 'over' = 'untold'
  /** Why it ended before its run; null if there is no run. */
  error: Error | null | undefined
  /** The thread lets go of it. */
  release = () => {}
  #at = 0

  /** @param key the id of the message that asks for the run; without one, it is told which */
  constructor(readonly key?: string) {}

  /** What the run is known by here. */
  get name(): string | undefined {
    return this.run?.id ?? this.expected ?? this.key
  }

  read(run: R, at: number) {
    if (!this.run) {
      this.run = run
      this.#at = at
    }
    this.wake()
  }

  /** At once, whatever has not been read. */
  end(error?: Error | null) {
    if (this.state === 'over') return
    this.error = error
    this.state = 'over'
    this.release()
    this.wake()
  }

  /** As if the run had been stopped now. */
  stop() {
    this.end(errorOf('stopped'))
  }

  /** It ends without a run. */
  refuse(error: Error | undefined) {
    this.end(error)
  }

  /** There may be something to read, or it is over. */
  abstract wake(): void

  protected next(): R['items'][number] | undefined {
    const { run } = this
    if (!run || this.state === 'over' || this.#at >= run.told) return undefined
    this.state = 'told'
    return run.items[this.#at++]
  }
}
