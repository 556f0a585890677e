import { ConnectionError } from '../errors'
import type { JsonObject } from '../protocol'

export type RunEnd = 'finished' | 'stopped' | 'failed' | 'interrupted'

/** One run of a thread, from its begin on, as far as it has come. */
export abstract class Run<Item = unknown> {
  state: 'running' | 'suspended' | 'ended' = 'running'
  readonly items: Item[] = []
  /** Where those items begin that tell its end. */
  tail = 0
  /** Why it ended before its time. */
  error: Error | undefined

  constructor(readonly id: string) {}

  /** How many of its items may be told. */
  get told(): number {
    return this.items.length
  }

  /** It comes again, from its first event: a reader has read that many items. */
  restart() {
    this.items.length = 0
    this.state = 'running'
  }

  end(reason: unknown) {
    if (this.state === 'ended') return
    this.state = 'ended'
    this.tail = this.items.length
    const end = reason === 'finished' || reason === 'stopped' || reason === 'failed' ? reason : 'interrupted'
    this.error = ERRORS[end]?.()
    this.close(end)
  }

  /**
   * Takes an event of the run.
   *
   * @returns whether it brings an item; else it says who asked, at the begin and where the run
   * goes on
   */
  abstract hear(event: JsonObject): boolean

  /** Adds the items that tell its end. */
  protected abstract close(reason: RunEnd): void
}

/** Chats and agents take it as their own doing, and show no error. */
export const stopped = () => new DOMException('the run was stopped', 'AbortError')

export const failed = () => new ConnectionError('run-failed', 'the server failed to make this answer: ask again')

export const interrupted = () =>
  new ConnectionError('run-interrupted', 'the server lost the rest of this answer: ask again')

const ERRORS: Readonly<Partial<Record<RunEnd, () => Error>>> = { stopped, failed, interrupted }
