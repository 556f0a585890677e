import type { BaseEvent, RunAgentInput } from '@ag-ui/client'
import { isObject, isText, type JsonObject } from '../../protocol'

/** What a run waits for after its `RUN_FINISHED`. */
export type WaitsFor = { readonly interruptIds: readonly string[] } | { readonly toolCallIds: readonly string[] }

/**
 * What an AG-UI run leaves for the client: interrupts, and calls of the tools that its input
 * brought.
 */
export class Waits {
  readonly #tools: ReadonlySet<unknown>
  #calls = new Set<string>()
  #outcome: JsonObject = {}

  constructor({ tools }: RunAgentInput) {
    this.#tools = new Set(tools.map(({ name }) => name))
  }

  see(event: BaseEvent) {
    const { toolCallId, toolCallName, outcome } = event
    switch (event.type as string) {
      case 'RUN_STARTED':
        this.#calls = new Set()
        this.#outcome = {}
        break
      case 'TOOL_CALL_START':
      case 'TOOL_CALL_CHUNK':
        if (isText(toolCallId) && this.#tools.has(toolCallName)) this.#calls.add(toolCallId)
        break
      case 'TOOL_CALL_RESULT':
        this.#calls.delete(String(toolCallId))
        break
      case 'RUN_FINISHED':
        if (isObject(outcome)) this.#outcome = outcome
        break
      case 'RUN_ERROR':
        this.#calls = new Set()
    }
  }

  /**
   * [spec] `pendingToolCallIds` are those that the producer leaves; where it names none, they are
   * derived from the stream.
   */
  get waitsFor(): WaitsFor | undefined {
    const { type, interrupts, pendingToolCallIds } = this.#outcome
    if (type === 'interrupt') return { interruptIds: list(interrupts).map(({ id }) => String(id)) }
    if (type !== undefined && type !== 'success') return undefined
    const named = Array.isArray(pendingToolCallIds) ? pendingToolCallIds.filter(isText) : []
    const toolCallIds = named.length ? named : [...this.#calls]
    return toolCallIds.length ? { toolCallIds } : undefined
  }
}

const list = (value: unknown): readonly JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : [])

/** The ids of what a suspended run waits for. */
export function idsOf(waitsFor: unknown): readonly unknown[] {
  const { interruptIds, toolCallIds }: JsonObject = Object(waitsFor)
  return Array.isArray(interruptIds) ? interruptIds : Array.isArray(toolCallIds) ? toolCallIds : []
}
