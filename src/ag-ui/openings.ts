import type { BaseEvent } from '@ag-ui/client'
import { isTerminal } from './wire'

type Kind = 'TEXT_MESSAGE' | 'TOOL_CALL' | 'REASONING_MESSAGE' | 'REASONING' | 'STEP' | 'SUBAGENT'

/** The field that names what an event opens or closes. */
const NAMES: Readonly<Record<Kind, string>> = {
  TEXT_MESSAGE: 'messageId',
  TOOL_CALL: 'toolCallId',
  REASONING_MESSAGE: 'messageId',
  REASONING: 'messageId',
  STEP: 'stepName',
  SUBAGENT: 'subagentRunId',
}
const OPENS = /^(.+)_(START|STARTED)$/
const CLOSES = /^(.+)_(END|FINISHED|ERROR)$/

/** What an AG-UI run has opened and not closed. */
export class Openings {
  readonly #open = new Map<string, BaseEvent>()
  #run: BaseEvent | undefined
  /** `RUN_FINISHED` or `RUN_ERROR` was the last that happened. */
  isOver = false

  see(event: BaseEvent) {
    const type: string = event.type
    this.isOver = isTerminal(event)
    if (type === 'RUN_STARTED') {
      this.#open.clear()
      this.#run = event
      return
    }
    const opened = keyOf(OPENS.exec(type)?.[1], event)
    if (opened) this.#open.set(opened, event)
    const closed = keyOf(CLOSES.exec(type)?.[1], event)
    if (closed) this.#open.delete(closed)
  }

  /**
   * [spec] `RUN_FINISHED` comes after everything has been closed. The last to be opened is closed
   * first.
   */
  cancelled(): readonly BaseEvent[] {
    if (!this.#run) return []
    const { threadId, runId } = this.#run
    const closings = [...this.#open.values()].reverse().map(closing)
    return [
      ...closings,
      { type: 'RUN_FINISHED', threadId, runId, outcome: { type: 'cancelled' } } as unknown as BaseEvent,
    ]
  }
}

function keyOf(kind: string | undefined, event: BaseEvent): string | undefined {
  if (kind === undefined || !Object.hasOwn(NAMES, kind)) return undefined
  // Two agents may each have a step of the same name.
  return JSON.stringify([kind, event[NAMES[kind as Kind]], kind === 'STEP' ? event.subagentRunId : undefined])
}

function closing(opening: BaseEvent): BaseEvent {
  const kind = OPENS.exec(opening.type)?.[1] as Kind
  const { [NAMES[kind]]: name, subagentRunId } = opening
  const owner = subagentRunId === undefined ? {} : { subagentRunId }
  const closed = { [NAMES[kind]]: name, ...owner }
  if (kind === 'SUBAGENT')
    return { type: 'SUBAGENT_ERROR', ...closed, message: 'the run was stopped' } as unknown as BaseEvent
  return { type: kind === 'STEP' ? 'STEP_FINISHED' : `${kind}_END`, ...closed } as unknown as BaseEvent
}
