import type { BaseEvent } from '@ag-ui/client'
import { Reader } from '../threads/reader'
import { errorOf } from '../threads/run'
import { type AgentRun, errorEvent } from './run'

/** Who is told the events of one run. */
export interface Listener {
  take(event: BaseEvent, run: AgentRun | undefined): void
  /**
   * The run is over, or goes no further here; without an event, it is an AbortError, or null if
   * there is no run.
   */
  end(error: Error | null | undefined): void
}

/** Reads one run to a listener. */
export class Reading extends Reader<AgentRun> {
  constructor(
    readonly listener: Listener,
    key?: string,
  ) {
    super(key)
  }

  wake() {
    for (let event = this.next(); event; event = this.next()) this.#tell(event)
    if (this.run && this.run.state !== 'running') this.end()
  }

  override end(error: Error | null | undefined = this.state === 'untold' ? errorOf('stopped') : undefined) {
    if (this.state === 'over') return
    super.end(error)
    this.listener.end(error)
  }

  override refuse(error: Error | undefined) {
    this.#tell(errorEvent(error))
    this.end()
  }

  override stop() {
    for (const event of this.run?.cancelled() ?? []) this.#tell(event)
    this.end()
  }

  #tell(event: BaseEvent) {
    this.state = 'told'
    this.listener.take(event, this.run)
  }
}
