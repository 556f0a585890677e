import type { UIMessage, UIMessageChunk } from 'ai'
import { isText } from '../../protocol'
import { nameOf } from '../../protocol/sessionName'
import { CommandRejected } from '../../server/errors'
import type { CommandCall } from '../../server/options'
import type { Principal } from '../../server/request/principal'
import { type ActiveRuns, type Produce, type ProducedEvent, type Runs, suspend } from '../../server/runs'
import { placeOf, placeToResume, type RunPlace } from '../../server/runs/runPlace'
import { RESUME } from '../../threads/line'
import { type ChatEvent, lastOf, promptOf } from '../wire'
import { chunksOf } from './chunks'
import type { UIMessageContext } from './context'
import { join } from './join'
import { OpenCalls, outputsOf } from './openCalls'
import { badRequest, type ChatRequest, parseRequest } from './request'
import { askUpstream } from './upstream'

export type UIMessageRunsOptions<M extends UIMessage = UIMessage, P extends Principal = Principal> =
  | {
      /** Of `createRuns`. */
      readonly runs: Runs
      /**
       * Answers a message: `streamText(…).toUIMessageStream()`, or a response with such a stream.
       * Called once for a run, and once more when a tool of the client's or an approval has been
       * answered. If it throws, or its stream does, the run ends as `failed`.
       */
      stream(
        context: UIMessageContext<M, P>,
      ): ReadableStream<UIMessageChunk> | Response | PromiseLike<ReadableStream<UIMessageChunk> | Response>
    }
  | {
      readonly runs: Runs
      /**
       * An `/api/chat` route as it is: the body is posted to it, and its answer is the run. It is
       * aborted when the run is stopped.
       */
      readonly upstream: URL
      /**
       * Further headers for it, e.g. what the principal is known by. Default: those of the message
       * alone, so no cookies.
       */
      headers?(context: UIMessageContext<M, P>): HeadersInit | PromiseLike<HeadersInit>
    }

type Open<M extends UIMessage, P extends Principal> = (
  context: UIMessageContext<M, P>,
) => PromiseLike<ReadableStream<UIMessageChunk> | Response>

/**
 * The `onCommand` of a server whose sessions are chats of the AI SDK: `send` begins a run, or goes
 * on with one that waits for a tool or an approval; `stop` ends it. Any other type is rejected (400
 * `unknown-type`), so an app with commands of its own asks for their types first.
 *
 * @throws TypeError if an option is missing
 */
export function uiMessageRuns<M extends UIMessage = UIMessage, P extends Principal = Principal>(
  options: UIMessageRunsOptions<M, P>,
): (call: CommandCall<P>) => Promise<RunPlace | { readonly run: string | null }> {
  const { runs } = options
  if (!runs) throw new TypeError("uiMessageRuns: 'runs' must be what createRuns returns")
  const open = openOf(options)

  return async (call) => {
    const { type, sessionId, message } = call
    if (sessionId === undefined) throw badRequest()
    if (type === 'stop')
      return { run: (await runs.stop(sessionId, isText(message.run) ? message.run : undefined)) ?? null }
    if (type !== 'send') throw new CommandRejected(400, 'unknown-type')
    const active = await runs.active(sessionId)
    if (message.trigger === RESUME) return placeToResume(active)
    const request = parseRequest(message)
    const { run, state } = await begin({ runs, open, call: { ...call, sessionId }, request, active })
    return placeOf(active, run, state)
  }
}

function openOf<M extends UIMessage, P extends Principal>(options: UIMessageRunsOptions<M, P>): Open<M, P> {
  if ('stream' in options) {
    if (typeof options.stream !== 'function') throw new TypeError("uiMessageRuns: 'stream' must be a function")
    return async (context) => options.stream(context)
  }
  const { upstream, headers } = options
  if (!(upstream instanceof URL)) throw new TypeError("uiMessageRuns: 'upstream' must be a URL, or give 'stream'")
  return async (context) => askUpstream(upstream, context, await headers?.(context))
}

interface Begin<M extends UIMessage, P extends Principal> {
  readonly runs: Runs
  readonly open: Open<M, P>
  readonly call: CommandCall<P> & { readonly sessionId: string }
  readonly request: ChatRequest
  readonly active: ActiveRuns
}

async function begin<M extends UIMessage, P extends Principal>({ runs, active: { run }, ...asked }: Begin<M, P>) {
  const { call, request } = asked
  const last = lastOf(request.body)
  const coalesce = { join }
  // An answer names its run: repeated after the run has ended, it must not begin another one.
  const answered = isText(call.message.answers) ? call.message.answers : run?.id
  if (answered !== undefined && last?.role === 'assistant') {
    const waitsFor = run?.id === answered ? run.waitsFor : undefined
    const produce = producing({ ...asked, outputs: [...outputsOf(last, waitsFor)] })
    return runs.resume(call, answered, produce, { coalesce, ...(waitsFor !== undefined && { waitsFor }) })
  }
  // The user has something else to say than what it waits for.
  if (run?.state === 'suspended') await runs.stop(call.sessionId, run.id)
  return runs.start(call, producing({ ...asked, outputs: [] }), { coalesce })
}

interface Producing<M extends UIMessage, P extends Principal> extends Pick<Begin<M, P>, 'open' | 'call' | 'request'> {
  /** Of tools that the client ran. */
  readonly outputs: readonly UIMessageChunk[]
}

const producing =
  <M extends UIMessage, P extends Principal>(asked: Producing<M, P>): Produce =>
  (signal, run) =>
    events(asked, signal, run)

async function* events<M extends UIMessage, P extends Principal>(
  { open, call, request, outputs }: Producing<M, P>,
  signal: AbortSignal,
  run: string,
): AsyncGenerator<ProducedEvent> {
  const { principal, sessionId, idempotencyKey } = call
  const prompt = promptOf(request.body)
  yield ui({ ...(idempotencyKey && { for: idempotencyKey }), ...(prompt && { prompt }) })
  const last = lastOf(request.body)
  const continued = last?.role === 'assistant' ? last.id : undefined
  const responseId = continued ?? run
  const calls = new OpenCalls()
  const { trigger, body, headers } = request
  const messages = [...request.messages] as M[]
  const chatId = nameOf(sessionId)
  const source = await open({ chatId, sessionId, principal, trigger, messages, body, headers, responseId, run, signal })
  let begun = false
  for await (const chunk of chunksOf(source, signal)) {
    calls.see(chunk)
    const start = startOf(chunk, continued, begun ? undefined : responseId)
    if (start) yield ui({ chunk: start })
    if (!begun) for (const output of outputs) yield ui({ chunk: output })
    begun = true
    if (chunk.type !== 'start') yield ui({ chunk })
  }
  if (calls.ids.length) yield suspend({ toolCallIds: calls.ids })
}

const ui = (event: Omit<ChatEvent, 'type'>): ChatEvent => ({ type: 'ui', ...event })

/**
 * Every answer begins with its id: without one, each reading of it would be another message. One
 * that goes on keeps its id, whatever the app's stream calls it.
 */
function startOf(
  chunk: UIMessageChunk,
  continued: string | undefined,
  first: string | undefined,
): UIMessageChunk | undefined {
  if (chunk.type !== 'start') return first ? { type: 'start', messageId: first } : undefined
  const messageId = continued ?? chunk.messageId ?? first
  return messageId ? { ...chunk, messageId } : chunk
}
