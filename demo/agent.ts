import { type CommandCall, CommandRejected } from 'holdline/server'
import type { AgentEvent } from './events'
import { type Step, scriptFor, tokensOf } from './script'

export interface AgentOptions {
  readonly publish: (sessionId: string, event: AgentEvent) => Promise<unknown>
  readonly tokensPerSecond: number
  /** How long a tool runs, ms. */
  readonly toolMs: number
  readonly onPrompt?: (sessionId: string, prompt: string) => void
}

interface Turn {
  readonly sessionId: string
  readonly turnId: string
  readonly prompt: string
  readonly abort: AbortController
}

const MAX_PROMPT = 20_000
/** Of one session: the turn that is being answered, and those that wait. */
const MAX_TURNS = 50
/** Sessions that are being answered at the same time. */
const MAX_ANSWERS = 200

/**
 * Answers prompts with streamed tokens and slow tools: one turn at a time in each session, in the
 * order they came.
 */
export class Agent {
  readonly #options: AgentOptions
  /** Of each session the turn that is being answered, and those that wait for it. */
  readonly #sessions = new Map<string, Turn[]>()
  #isClosed = false

  constructor(options: AgentOptions) {
    this.#options = options
  }

  /** Returns as soon as the command is taken on; what comes of it is published later. */
  async handle({ type, sessionId, message, idempotencyKey }: CommandCall): Promise<object> {
    if (sessionId === undefined) throw new CommandRejected(400, 'session-missing')
    switch (type) {
      case 'send':
        return this.#prompt(sessionId, message.prompt, idempotencyKey ?? crypto.randomUUID())
      case 'stop':
        return { stopped: this.#stop(sessionId, (turn) => turn.turnId === message.turnId) }
      case 'interrupt':
        return { stopped: this.#stop(sessionId, (_, index) => index === 0) }
      default:
        throw new CommandRejected(400, 'not-for-this-agent')
    }
  }

  /** Says nothing more. */
  close() {
    this.#isClosed = true
    for (const turns of this.#sessions.values()) for (const { abort } of turns) abort.abort()
    this.#sessions.clear()
  }

  async #prompt(sessionId: string, prompt: unknown, turnId: string): Promise<object> {
    if (typeof prompt !== 'string' || prompt.trim() === '') throw new CommandRejected(400, 'empty-prompt')
    if (prompt.length > MAX_PROMPT) throw new CommandRejected(413, 'prompt-too-long')
    const waiting = this.#sessions.get(sessionId)?.length ?? 0
    if (waiting >= MAX_TURNS || (waiting === 0 && this.#sessions.size >= MAX_ANSWERS))
      throw new CommandRejected(409, 'busy')
    this.#options.onPrompt?.(sessionId, prompt)
    await this.#options.publish(sessionId, { type: 'prompt', turnId, text: prompt })
    this.#takeOn({ sessionId, turnId, prompt, abort: new AbortController() })
    return { turnId }
  }

  #takeOn(turn: Turn) {
    const turns = this.#sessions.get(turn.sessionId)
    if (turns) turns.push(turn)
    else {
      const first = [turn]
      this.#sessions.set(turn.sessionId, first)
      void this.#answerAll(turn.sessionId, first)
    }
  }

  #stop(sessionId: string, isMeant: (turn: Turn, index: number) => boolean): number {
    const turns = (this.#sessions.get(sessionId) ?? []).filter(isMeant)
    for (const turn of turns) turn.abort.abort()
    return turns.length
  }

  async #answerAll(sessionId: string, turns: Turn[]) {
    for (let turn = turns[0]; turn && !this.#isClosed; turn = turns[0]) {
      await this.#answer(turn)
      turns.shift()
    }
    this.#sessions.delete(sessionId)
  }

  async #answer(turn: Turn) {
    const { prompt, abort } = turn
    await this.#publish(turn, { type: 'answer.started' })
    for (const step of scriptFor(prompt)) {
      if (abort.signal.aborted) break
      if (step.kind === 'text') await this.#say(turn, step.text)
      else await this.#runTool(turn, step)
    }
    if (!this.#isClosed) await this.#publish(turn, { type: 'answer.ended', outcome: outcomeOf(turn) })
  }

  async #say(turn: Turn, text: string) {
    const { signal } = turn.abort
    // By the clock and not from token to token, so that late timers do not add up.
    let due = Date.now()
    for (const token of tokensOf(text)) {
      if (signal.aborted) return
      await this.#publish(turn, { type: 'token', text: token })
      due += 1_000 / this.#options.tokensPerSecond
      await pause(due - Date.now(), signal)
    }
  }

  async #runTool(turn: Turn, { name, input, notes, result }: Step & { kind: 'tool' }) {
    const { toolMs } = this.#options
    const { signal } = turn.abort
    const toolId = crypto.randomUUID()
    const at = Date.now()
    await this.#publish(turn, { type: 'tool.started', toolId, name, input, at, expectedMs: toolMs })
    for (const note of notes) {
      if (signal.aborted) break
      await this.#publish(turn, { type: 'tool.progress', toolId, note })
      await pause(toolMs / notes.length, signal)
    }
    if (this.#isClosed) return
    await this.#publish(turn, {
      type: 'tool.ended',
      toolId,
      outcome: outcomeOf(turn),
      result: signal.aborted ? '' : result,
      tookMs: Date.now() - at,
    })
  }

  #publish({ sessionId, turnId }: Turn, event: OfTurn<AgentEvent>) {
    return this.#options.publish(sessionId, { ...event, turnId } as AgentEvent)
  }
}

/** An event without the turn that it is of. */
type OfTurn<Event> = Event extends unknown ? Omit<Event, 'turnId'> : never

const outcomeOf = ({ abort }: Turn) => (abort.signal.aborted ? 'stopped' : 'done')

/** Ends early when it is aborted; whoever waits looks at the signal. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}
