import type { BaseEvent, RunAgentInput } from '@ag-ui/client'
import { isText } from '../../protocol'
import { CommandRejected } from '../../server/errors'
import type { CommandCall } from '../../server/options'
import type { Principal } from '../../server/request/principal'
import { type ActiveRuns, type Produce, type ProducedEvent, type Runs, suspend } from '../../server/runs'
import { placeOf, placeToResume, type RunPlace } from '../../server/runs/runPlace'
import { RESUME } from '../../threads/line'
import { type AgentEvent, answersOf, isTerminal } from '../wire'
import { type AguiSource, eventsOf } from './eventsOf'
import { join } from './join'
import { badRequest, isEmptyState, newMessages, parseInput } from './request'
import { askUpstream } from './upstream'
import { idsOf, Waits } from './waits'

export type { AguiSource } from './eventsOf'

/** Beside the input of a run. */
export interface AguiContext<P extends Principal = Principal> {
  readonly sessionId: string
  /** Who sent it; may `write` the session. */
  readonly principal: P
  /**
   * The name of the run in `run.started`; AG-UI's `runId` is the client's, and stands in the input.
   */
  readonly run: string
  /** The run has been stopped. */
  readonly signal: AbortSignal
}

export type AguiRunsOptions<P extends Principal = Principal> =
  | {
      /** Of `createRuns`. */
      readonly runs: Runs
      /**
       * Answers an input: the events of an agent, from `RUN_STARTED` to `RUN_FINISHED` or
       * `RUN_ERROR`, or a response with them. Called once for a run, and once more when an
       * interrupt or a tool of the client's has been answered. The input comes from the client: its
       * `threadId` is the session's, all else in it is the client's word. If it throws, or its
       * events do, the run ends as `failed`.
       */
      run(input: RunAgentInput, context: AguiContext<P>): AguiSource | PromiseLike<AguiSource>
    }
  | {
      readonly runs: Runs
      /**
       * An AG-UI endpoint as it is: the input is posted to it, and its answer is the run. It is
       * aborted when the run is stopped.
       */
      readonly upstream: URL
      /** Headers for it, e.g. what the principal is known by. Default: none, so no cookies. */
      headers?(input: RunAgentInput, context: AguiContext<P>): HeadersInit | PromiseLike<HeadersInit>
    }

type Open<P extends Principal> = (input: RunAgentInput, context: AguiContext<P>) => PromiseLike<AguiSource>

/**
 * The `onCommand` of a server whose sessions are threads of AG-UI agents: `send` begins a run, or
 * goes on with one that waits for an interrupt or a tool; `stop` ends it. Any other type is
 * rejected (400 `unknown-type`), so an app with commands of its own asks for their types first.
 *
 * @throws TypeError if an option is missing
 */
export function aguiRuns<P extends Principal = Principal>(
  options: AguiRunsOptions<P>,
): (call: CommandCall<P>) => Promise<RunPlace | { readonly run: string | null }> {
  const { runs } = options
  if (!runs) throw new TypeError("aguiRuns: 'runs' must be what createRuns returns")
  const open = openOf(options)

  return async (call) => {
    const { type, sessionId, message } = call
    if (sessionId === undefined) throw badRequest()
    if (type === 'stop')
      return { run: (await runs.stop(sessionId, isText(message.run) ? message.run : undefined)) ?? null }
    if (type !== 'send') throw new CommandRejected(400, 'unknown-type')
    const active = await runs.active(sessionId)
    if (message.trigger === RESUME) return placeToResume(active)
    const input = parseInput(message.input, sessionId)
    const { run, state } = await begin({ runs, open, call: { ...call, sessionId }, input, active })
    return placeOf(active, run, state)
  }
}

function openOf<P extends Principal>(options: AguiRunsOptions<P>): Open<P> {
  if ('run' in options) {
    if (typeof options.run !== 'function') throw new TypeError("aguiRuns: 'run' must be a function")
    return async (input, context) => options.run(input, context)
  }
  const { upstream, headers } = options
  if (!(upstream instanceof URL)) throw new TypeError("aguiRuns: 'upstream' must be a URL, or give 'run'")
  return async (input, context) =>
    askUpstream(upstream, { input, headers: await headers?.(input, context), signal: context.signal })
}

interface Begin<P extends Principal> {
  readonly runs: Runs
  readonly open: Open<P>
  readonly call: CommandCall<P> & { readonly sessionId: string }
  readonly input: RunAgentInput
  readonly active: ActiveRuns
}

async function begin<P extends Principal>({ runs, active: { run }, ...asked }: Begin<P>) {
  const { call, input } = asked
  const answers = answersOf(input)
  const produce: Produce = (signal, name) => events(asked, signal, name)
  const coalesce = { join }
  const asks = run?.state === 'suspended' ? idsOf(run.waitsFor) : []
  const isAnswered = asks.length > 0 && asks.every((id) => answers.has(id as string))
  const named = isText(call.message.answers) ? call.message.answers : undefined
  if (named !== undefined || isAnswered) {
    // Whatever else it waits for by now, it was not asked for this.
    const waitsFor = isAnswered ? run?.waitsFor : { answered: [...answers] }
    return runs.resume(call, named ?? run?.id ?? '', produce, { coalesce, waitsFor })
  }
  // The user has something else to say than what it waits for.
  if (run?.state === 'suspended') await runs.stop(call.sessionId, run.id)
  return runs.start(call, produce, { coalesce })
}

async function* events<P extends Principal>(
  { open, call, input }: Pick<Begin<P>, 'open' | 'call' | 'input'>,
  signal: AbortSignal,
  run: string,
): AsyncGenerator<ProducedEvent> {
  const { principal, sessionId, idempotencyKey } = call
  const { state } = input
  const last = input.messages.at(-1)?.id
  yield agui({
    ...(idempotencyKey && { for: idempotencyKey }),
    ...(last !== undefined && { last }),
    ...(!isEmptyState(state) && { state }),
  })
  const waits = new Waits(input)
  let previous: BaseEvent | undefined
  for await (const event of eventsOf(await open(input, { sessionId, principal, run, signal }), signal)) {
    if (!previous && !isStart(event)) yield agui({ event: started(input) })
    waits.see(event)
    previous = event
    yield agui({ event: isStart(event) ? { ...started(input), ...event } : event })
  }
  if (signal.aborted) return
  if (!previous || !isTerminal(previous)) {
    throw new TypeError('aguiRuns: the events of the run ended without RUN_FINISHED or RUN_ERROR')
  }
  const { waitsFor } = waits
  if (waitsFor) yield suspend(waitsFor)
}

const agui = (event: Omit<AgentEvent, 'type'>): AgentEvent => ({ type: 'agui', ...event })

const isStart = ({ type }: BaseEvent) => (type as string) === 'RUN_STARTED'

/**
 * [spec] `input` is what was asked; an agent that does not have its messages adds them. Those that
 * the thread had before are left out.
 */
function started(input: RunAgentInput): BaseEvent {
  const { threadId, runId } = input
  const asked = { threadId, runId, messages: newMessages(input), tools: [], context: [], state: {}, forwardedProps: {} }
  return { type: 'RUN_STARTED', threadId, runId, input: asked } as unknown as BaseEvent
}
