import { AbstractAgent, type AgentConfig, enforceOutgoingInput, type RunAgentInput } from '@ag-ui/client'
import type { Connection } from '../connection/api'
import type { Delivery } from '../connection/messages'
import { ConnectionError } from '../errors'
import { MAX_BATCH_BYTES } from '../protocol'
import { sessionIdOf } from '../protocol/sessionName'
import { refuseLarge } from '../threads/refuseLarge'
import { errorOf } from '../threads/run'
import type { Thread } from '../threads/thread'
import type { Threads } from '../threads/threads'
import { type Events, Observable } from './events'
import { type Listener, Reading } from './reading'
import { type ReadHistory, replay } from './replay'
import { type AgentRun, type RunListener, type RunNews, threadsOf } from './run'
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
  readonly threads: Threads<AgentRun>
  readonly history: ReadHistory | undefined
  /** What this agent reads now. */
  readonly readings: Map<Reading, Thread<AgentRun>>
  /** Of `runAgent`: what becomes of its input, which middleware may be working on. */
  input: 'wanted' | 'stopped'
  readonly runs: WeakMap<RunNews, AgentRun>
  /** Of those, the one that `followAgent` is to show next. */
  shows: AgentRun | undefined
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
    const parts: Parts = {
      threads: threadsOf(connection),
      onAbort,
      maxBytes,
      history,
      readings: new Map(),
      input: 'wanted',
      runs: new WeakMap(),
      shows: undefined,
    }
    this.holdline = () => parts
  }

  override async runAgent(...given: Parameters<AbstractAgent['runAgent']>) {
    const parts = this.holdline()
    parts.input = 'wanted'
    try {
      return await super.runAgent(...given)
    } finally {
      parts.input = 'wanted'
    }
  }

  /** Asks for a run, once it is subscribed to. To unsubscribe is to detach: the run goes on. */
  run(input: RunAgentInput): Events {
    return new Observable((subscriber) => {
      const { threads, maxBytes, input: state } = this.holdline()
      if (state === 'stopped') throw errorOf('stopped')
      const command = commandOf(enforceOutgoingInput(input), threads.waiting(input.threadId))
      refuseLarge(command, maxBytes, ADVICE)
      const delivery = threads.line.send({ ...command })
      const thread = threads.of(input.threadId)
      const listener: Listener = {
        take: (event) => subscriber.next(event),
        end: (error) => (error ? subscriber.error(error) : subscriber.complete()),
      }
      const reading = new Reading(listener, delivery.id)
      thread.answer(reading, delivery)
      return this.reads(reading, thread)
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
      const reading = new Reading(replay({ subscriber, input, history }))
      void thread.resume(reading, this.holdline().shows)
      return this.reads(reading, thread)
    })
  }

  /**
   * Ends the run of the thread, for everybody who reads it. It ends here at once, with what it has;
   * offline, it ends when the line is back, and an input that was not posted yet, or is in the
   * hands of middleware, never is.
   */
  stop(): Delivery {
    if (this.isRunning) this.holdline().input = 'stopped'
    return this.holdline().threads.stop(this.threadId)
  }

  /** As `onAbort` says, if this agent reads a run; one that it has not asked for yet is not. */
  override abortRun() {
    const { readings, onAbort } = this.holdline()
    if (onAbort === 'stop' && this.isRunning) this.holdline().input = 'stopped'
    if (readings.size === 0) return
    if (onAbort === 'stop') this.stop()
    for (const [reading, thread] of [...readings]) thread.leave(reading, errorOf('stopped'))
  }

  /**
   * Hears of runs of the thread that no agent of this page reads: they began elsewhere. Returns the
   * function that unsubscribes.
   */
  onRun(listener: RunListener): () => void {
    return this.holdline()
      .threads.of(this.threadId)
      .follow((run, threadId) => {
        const news = { threadId, run: run.id }
        this.holdline().runs.set(news, run)
        listener(news)
      })
  }

  /** `connectAgent()` for a run that `onRun` told of; nothing, if this page has read it since. */
  async show(news: RunNews) {
    const parts = this.holdline()
    parts.shows = parts.runs.get(news)
    try {
      return await this.connectAgent()
    } finally {
      parts.shows = undefined
    }
  }

  override clone(): HoldlineAgent {
    const cloned = super.clone() as HoldlineAgent
    const parts: Parts = { ...this.holdline(), readings: new Map(), input: 'wanted', shows: undefined }
    cloned.holdline = () => parts
    return cloned
  }

  private reads(reading: Reading, thread: Thread<AgentRun>) {
    const { readings } = this.holdline()
    readings.set(reading, thread)
    return () => {
      readings.delete(reading)
      thread.leave(reading)
    }
  }
}

function check(isRight: boolean, what: string) {
  if (!isRight) throw new ConnectionError('invalid-option', `HoldlineAgent: ${what}`)
}

const ADVICE = 'send the last messages alone, and URLs for files (agent.use)'

/** @param waiting the run of the thread that waits for an answer */
function commandOf(input: RunAgentInput, waiting: string | undefined): AgentCommand {
  const isAnswer = waiting !== undefined && answersOf(input).size > 0
  return { type: 'send', sessionId: sessionIdOf(input.threadId), input, ...(isAnswer && { answers: waiting }) }
}
