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
    const end = ENDS.find((known) => known === reason) ?? 'interrupted'
    this.error = errorOf(end)
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

const ENDS = ['finished', 'stopped', 'failed'] as const

/** Why a run ended before its time. */
export function errorOf(end: RunEnd): Error | undefined {
  if (end === 'finished') return undefined
  // Chats and agents take it as their own doing, and show no error.
  if (end === 'stopped') return new DOMException('the run was stopped', 'AbortError')
  const why = end === 'failed' ? 'failed to make' : 'lost the rest of'
  return new ConnectionError(`run-${end}`, `the server ${why} this answer: ask again`)
}

/** Hears of a run that nothing on this page reads, and of the thread that it belongs to. */
export type RunListener<R extends Run> = (run: R, thread: string) => void

/** What runs are made of: the `type` of their events, and how they are taken. */
export interface Kind<R extends Run> {
  readonly type: string
  readonly Run: new (id: string) => R
}
