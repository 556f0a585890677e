import type { BaseEvent, Message, RunAgentInput } from '@ag-ui/client'
import type { EventSubscriber } from './events'
import type { Listener } from './reading'
import type { AgentRun } from './run'

/** A thread as the app has stored it. */
export interface ThreadHistory {
  readonly messages: readonly Message[]
  readonly state?: unknown
}

export type ReadHistory = (threadId: string) => ThreadHistory | undefined | PromiseLike<ThreadHistory | undefined>

interface ReplayParts {
  readonly subscriber: EventSubscriber
  readonly input: RunAgentInput
  readonly history: ReadHistory | undefined
}

/**
 * Shows a thread to an agent that may have a part of it: its history, and then the run from its
 * first event. The history is read after the run was found, so that no answer falls between; what
 * it has of that run already is left out.
 */
export function replay({ subscriber, input, history }: ReplayParts): Listener {
  const { threadId, runId } = input
  const begin = { type: 'RUN_STARTED', threadId, runId } as unknown as BaseEvent
  let isBegun = false
  let told = Promise.resolve()
  const then = (step: () => unknown) => {
    told = told
      .then(() => (subscriber.closed ? undefined : step()))
      .then(
        () => {},
        (error) => subscriber.error(error),
      )
  }
  const tell = (...events: readonly object[]) => {
    for (const event of events) subscriber.next(event as BaseEvent)
  }
  /** A snapshot brings what was asked in its place; `input` would add it at the end. */
  const tellBegin = async ({ input: asked, ...begin }: BaseEvent, run: AgentRun | undefined) => {
    const told = snapshots(await history?.(threadId), input, run)
    const isWhole = told.some(({ type }) => type === 'MESSAGES_SNAPSHOT')
    tell(isWhole || asked === undefined ? begin : { ...begin, input: asked }, ...told)
  }

  return {
    take(event, run) {
      const isBegin = !isBegun && (event.type as string) === 'RUN_STARTED'
      // It failed before its begin, or while this page was not there.
      if (!isBegun && !isBegin && history) then(() => tellBegin(begin, run))
      then(() => (isBegin ? tellBegin(event, run) : tell(event)))
      isBegun = true
    },
    end(error) {
      if (!isBegun && history && error === null) {
        then(() => tellBegin(begin, undefined))
        then(() => tell({ type: 'RUN_FINISHED', threadId, runId }))
      }
      then(() => (error ? subscriber.error(error) : subscriber.complete()))
    },
  }
}

type Snapshot = { readonly type: string; readonly [field: string]: unknown }

function snapshots(
  history: ThreadHistory | undefined,
  input: RunAgentInput,
  run: AgentRun | undefined,
): readonly Snapshot[] {
  const stored = history?.messages ?? input.messages
  const known = stored.slice(0, stored.findIndex(({ id }) => id === run?.asked.last) + 1 || stored.length)
  const added = run?.prompt.filter(({ id }) => !known.some((message) => message.id === id)) ?? []
  const state = run ? (run.asked.state ?? {}) : history?.state
  return [
    ...(history || known.length < stored.length ? [{ type: 'MESSAGES_SNAPSHOT', messages: [...known, ...added] }] : []),
    ...(state !== undefined && !(isEmpty(state) && isEmpty(input.state))
      ? [{ type: 'STATE_SNAPSHOT', snapshot: state }]
      : []),
  ]
}

const isEmpty = (state: unknown) => state === undefined || JSON.stringify(state) === '{}'
