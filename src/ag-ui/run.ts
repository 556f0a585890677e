import type { BaseEvent, Message } from '@ag-ui/client'
import type { ConnectionError } from '../errors'
import type { JsonObject } from '../protocol'
import { errorOf, Run, type RunEnd } from '../threads/run'
import { sharing } from '../threads/threads'
import { Openings } from './openings'
import { isEvent } from './wire'

/** A run that no agent of this page reads. */
export interface RunNews {
  readonly threadId: string
  /** Its name in `run.started`. */
  readonly run: string
}

export type RunListener = (news: RunNews) => void

/** Its items are events of AG-UI. */
export class AgentRun extends Run<BaseEvent> {
  /**
   * The last message that it was asked with, and the state: what a page needs that shows the run
   * anew.
   */
  asked: { readonly last?: unknown; readonly state?: unknown } = {}
  #openings = new Openings()

  /** What goes on is a run of its own in the eyes of AG-UI. */
  hear({ event, last, state }: JsonObject): boolean {
    const isItem = isEvent(event)
    if (isItem) this.#push(event)
    else {
      if (this.items.length === 0) this.asked = { last, state }
      this.#openings = new Openings()
    }
    return isItem
  }

  /**
   * That it is over is told when the next one may begin: the last event waits for `run.ended`.
   */
  override get told(): number {
    return this.items.length - (this.state === 'running' && this.#openings.isOver ? 1 : 0)
  }

  /**
   * What tells a reader who has read all of it that it goes no further; nothing, if it has not
   * begun.
   */
  cancelled(): readonly BaseEvent[] {
    return this.#openings.isOver ? this.items.slice(-1) : this.#openings.cancelled()
  }

  /** What the run adds to the messages of the thread, as its `RUN_STARTED` says. */
  get prompt(): readonly Message[] {
    const { input }: JsonObject = Object(this.items[0])
    const { messages }: JsonObject = Object(input)
    return Array.isArray(messages) ? messages : []
  }

  protected close(reason: RunEnd) {
    if (this.#openings.isOver) return
    const told = reason === 'stopped' ? this.cancelled() : [errorEvent(this.error ?? errorOf('failed'))]
    for (const event of told) this.#push(event)
  }

  #push(event: BaseEvent) {
    this.items.push(event)
    this.#openings.see(event)
  }
}

export function errorEvent(error: Error | undefined): BaseEvent {
  const { code, status, message } = error as ConnectionError
  return { type: 'RUN_ERROR', code: status === undefined ? code : `http-${status}`, message } as unknown as BaseEvent
}

export const threadsOf = sharing({ type: 'agui', Run: AgentRun })
