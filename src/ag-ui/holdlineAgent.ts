import { AbstractAgent, type AgentConfig, enforceOutgoingInput, type RunAgentInput } from '@ag-ui/client'
import type { Connection } from '../connection/api'
import type { Delivery } from '../connection/messages'
import { ConnectionError } from '../errors'
import { type JsonObject, MAX_BATCH_BYTES } from '../protocol'
import { sessionIdOf } from '../protocol/sessionName'
import { type Events, Observable } from './events'
import { aborted, type Reader } from './reading'
import { type ReadHistory, replay } from './replay'
import type { Run, RunListener } from './run'
import type { Thread } from './thread'
import { type Threads, threadsOf } from './threads'
import { type AgentCommand, answersOf } from './wire'

export interface HoldlineAgentConfig extends AgentConfig {
  /** `connection.connect()` is the app's to call. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever other messages the app's connection carries
  readonly connection: Connection<any, any>
  /**
   * What `abortRun()` means. `stop`: the run ends, for everybody. `detach`: this page reads no
   * more, the run goes on, as after `detachActiveRun()`. Default: `stop`.
   */
  readonly onAbort?: 'detach' | 'stop'
  /**
   * Reads what the app has stored of a thread, for `connectAgent()`. Called once the active run is
   * known; what it holds of that run is left out, because the run is replayed. Default: what the
   * agent has itself.
   */
  readonly history?: ReadHistory
  /**
   * The size of a run's input as JSON, bytes; a larger one is refused before it is sent. The
   * server's `limits.bodyBytes`. Default: 262,144 (256 KiB).
   */
  readonly maxBytes?: number
}

interface Parts extends Required<Pick<HoldlineAgentConfig, 'onAbort' | 'maxBytes'>> {
  readonly threads: Threads
  readonly history: ReadHistory | undefined
  /** What this agent reads now. */
  readonly readers: Map<Reader, Thread>
}

/**
 * An AG-UI agent over a connection. A run's input goes up through the outbox, and its events come
 * down as a run of the session whose id is the thread's, whatever happens to the line meanwhile.
 * The other half is `aguiRuns` of `holdline/ag-ui/server`.
 *
 * A stop ends a run as `RUN_FINISHED` with the outcome `cancelled`; a refusal, a failure or a lost
 * run as `RUN_ERROR`, whose `code` is that of the refusal, `run-failed` or `run-interrupted`.
 */
export class HoldlineAgent extends AbstractAgent {
  /**
   * A function, because proxies of frameworks wrap objects, and `clone()` makes objects
   * without #fields.
   */
  private holdline: () => Parts

  /** @throws {ConnectionError} `invalid-option`, naming the option */
  constructor({ connection, onAbort = 'stop', maxBytes = MAX_BATCH_BYTES, history, ...config }: HoldlineAgentConfig) {
    super(config)
    check(typeof connection?.send === 'function', 'connection must be what createConnection returns')
    check(onAbort === 'stop' || onAbort === 'detach', "onAbort must be 'detach' or 'stop'")
    check(maxBytes > 0, 'maxBytes must be a number of bytes above 0')
    check(history === undefined || typeof history === 'function', 'history must be a function')
    const parts = { threads: threadsOf(connection), onAbort, maxBytes, history, readers: new Map<Reader, Thread>() }
    this.holdline = () => parts
  }

  /** Asks for a run, once it is subscribed to. To unsubscribe is to detach: the run goes on. */
  run(input: RunAgentInput): Events {
    return new Observable((subscriber) => {
      const { threads, maxBytes } = this.holdline()
      const command = commandOf(enforceOutgoingInput(input), threads.find(input.threadId)?.current)
      refuseLarge(command, maxBytes)
      const thread = threads.of(input.threadId)
      const delivery = threads.line.send({ ...command }) as Delivery<AgentCommand & JsonObject>
      const reader: Reader = {
        key: delivery.id,
        take: (event) => subscriber.next(event),
        end: (error) => (error ? subscriber.error(error) : subscriber.complete()),
      }
      thread.answer(reader, delivery)
      return this.reads(reader, thread)
    })
  }

  /** What waits for an answer is told anew: another page may have given one. */
  override connectAgent(...given: Parameters<AbstractAgent['connectAgent']>) {
    this.pendingInterrupts = []
    return super.connectAgent(...given)
  }

  /**
   * Shows the thread: its history, and the run that is under way or waits, from its first event.
   * Sends no messages.
   */
  override connect(input: RunAgentInput): Events {
    return new Observable((subscriber) => {
      const { threads, history } = this.holdline()
      const thread = threads.of(input.threadId)
      const reader = replay({ subscriber, input, history })
      void thread.resume(reader)
      return this.reads(reader, thread)
    })
  }

  /**
   * Ends the run of the thread, for everybody who reads it. It ends here at once, with what it has;
   * offline, it ends when the line is back, and an input that was not posted yet never is.
   */
  stop(): Delivery {
    const { threads } = this.holdline()
    const thread = threads.find(this.threadId)
    const run = thread?.current?.id
    const delivery = threads.line.send({ type: 'stop', sessionId: sessionIdOf(this.threadId), ...(run && { run }) })
    thread?.stop()
    return delivery
  }

  /** As `onAbort` says, if this agent reads a run. */
  override abortRun() {
    const { readers, onAbort } = this.holdline()
    if (readers.size === 0) return
    if (onAbort === 'stop') this.stop()
    for (const [reader, thread] of [...readers]) {
      thread.leave(reader)
      reader.end(aborted())
    }
  }

  /**
   * Hears of runs of the thread that no agent of this page reads: they began elsewhere. Returns the
   * function that unsubscribes.
   */
  onRun(listener: RunListener): () => void {
    return this.holdline().threads.of(this.threadId).follow(listener)
  }

  override clone(): HoldlineAgent {
    const cloned = super.clone() as HoldlineAgent
    const parts = { ...this.holdline(), readers: new Map<Reader, Thread>() }
    cloned.holdline = () => parts
    return cloned
  }

  private reads(reader: Reader, thread: Thread) {
    const { readers } = this.holdline()
    readers.set(reader, thread)
    return () => {
      readers.delete(reader)
      thread.leave(reader)
    }
  }
}

function check(isRight: boolean, what: string) {
  if (!isRight) throw new ConnectionError('invalid-option', `HoldlineAgent: ${what}`)
}

function commandOf(input: RunAgentInput, current: Run | undefined): AgentCommand {
  const isAnswer = current?.state === 'suspended' && answersOf(input).size > 0
  return {
    type: 'send',
    sessionId: sessionIdOf(input.threadId),
    input,
    ...(isAnswer && { answers: current.id }),
  }
}

function refuseLarge(command: AgentCommand, maxBytes: number) {
  const bytes = new TextEncoder().encode(JSON.stringify(command)).length
  if (bytes <= maxBytes) return
  throw new ConnectionError(
    'invalid-message',
    `the input for thread ${command.input?.threadId} has ${bytes} bytes, and the server takes ${maxBytes} (limits.bodyBytes): ` +
      'with a middleware (agent.use), send the last messages alone, and the URLs of uploaded files in place of the files',
  )
}
