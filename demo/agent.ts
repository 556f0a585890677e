import { type ChatServer, type CommandCall, CommandRejected } from 'holdline/server'
import { createRuns, type RunReceipt, type Runs } from 'holdline/server/runs'
import type { AnswerEvent, Numbered, PromptEvent, PromptReceipt } from './events'
import { type Step, scriptFor, tokensOf } from './script'

export interface AgentOptions {
  readonly server: ChatServer
  readonly tokensPerSecond: number
  /** How long a tool runs, ms. */
  readonly toolMs: number
  /** Returns how many prompts of this page have been received, this one included. */
  readonly onPrompt: (prompt: string, page: string) => number
}

interface Turn {
  readonly call: CommandCall
  readonly sessionId: string
  readonly turnId: string
  readonly prompt: string
  /** The answer, once its turn has come. */
  run?: Promise<RunReceipt>
  /** Nothing more is said in it. */
  over(): void
}

const MAX_PROMPT = 20_000
/** Of one session: the turn that is being answered, and those that wait. */
const MAX_TURNS = 50
/** Sessions that are being answered at the same time. */
const MAX_ANSWERS = 200

/**
 * Answers prompts with streamed tokens and slow tools. Each answer is a run, and a session has one
 * at a time, in the order of its prompts.
 */
export class Agent {
  readonly #options: AgentOptions
  readonly #runs: Runs
  /** Of each session the turn that is being answered, and those that wait for it. */
  readonly #sessions = new Map<string, Turn[]>()
  readonly #closing = new AbortController()

  constructor(options: AgentOptions) {
    this.#options = options
    // The next turn may come before the log knows that the last one has ended.
    this.#runs = createRuns({ server: options.server, onBusy: 'queue' })
  }

  /** Returns as soon as the command is taken on; what comes of it is published later. */
  async handle(call: CommandCall): Promise<object> {
    const { type, sessionId, message } = call
    if (sessionId === undefined) throw new CommandRejected(400, 'session-missing')
    switch (type) {
      case 'send':
        return this.#prompt(call, sessionId)
      case 'stop':
        return { stopped: await this.#stop(sessionId, (turn) => turn.turnId === message.turnId) }
      case 'interrupt':
        return { stopped: await this.#stop(sessionId, (_, index) => index === 0) }
      default:
        throw new CommandRejected(400, 'not-for-this-agent')
    }
  }

  /** Says nothing more. */
  close() {
    this.#closing.abort()
    this.#sessions.clear()
  }

  async #prompt(call: CommandCall, sessionId: string): Promise<PromptReceipt> {
    const { message, idempotencyKey: turnId } = call
    const { prompt } = message
    if (typeof prompt !== 'string' || prompt.trim() === '') throw new CommandRejected(400, 'empty-prompt')
    if (prompt.length > MAX_PROMPT) throw new CommandRejected(413, 'prompt-too-long')
    const waiting = this.#sessions.get(sessionId)?.length ?? 0
    if (waiting >= MAX_TURNS || (waiting === 0 && this.#sessions.size >= MAX_ANSWERS))
      throw new CommandRejected(409, 'busy')
    const { page, number } = message
    const received = this.#options.onPrompt(prompt, isPage(page) ? page : '')
    const counted = isPage(page) && Number.isSafeInteger(number) && { page, number: Number(number), received }
    const { seq, epoch } = await this.#publish(sessionId, { type: 'prompt', turnId, text: prompt, ...counted })
    this.#takeOn({ call, sessionId, turnId, prompt, over: () => {} })
    return { turnId, seq, epoch }
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

  async #stop(sessionId: string, isMeant: (turn: Turn, index: number) => boolean): Promise<number> {
    const turns = this.#sessions.get(sessionId) ?? []
    const meant = turns.filter(isMeant)
    for (const turn of meant) {
      if (turn.run) await this.#end(turn, await turn.run)
      else {
        turns.splice(turns.indexOf(turn), 1)
        await this.#publish(sessionId, { type: 'prompt.dropped', turnId: turn.turnId, reason: 'stopped' })
      }
    }
    return meant.length
  }

  async #end({ sessionId, over }: Turn, { run }: RunReceipt) {
    await this.#runs.stop(sessionId, run)
    // One that has not begun never begins.
    over()
  }

  async #answerAll(sessionId: string, turns: Turn[]) {
    for (let turn = turns[0]; turn && !this.#closing.signal.aborted; turn = turns[0]) {
      await this.#answer(turn)
      turns.shift()
    }
    if (this.#sessions.get(sessionId) === turns) this.#sessions.delete(sessionId)
  }

  /** Resolves when the answer is over, or could not begin. */
  #answer(turn: Turn): Promise<void> {
    const { call, sessionId, turnId } = turn
    return new Promise((resolve) => {
      turn.over = resolve
      turn.run = this.#runs.start(call, (signal, run) => this.#say(turn, signal, run))
      turn.run.catch((error: unknown) => {
        console.error(error)
        void this.#publish(sessionId, { type: 'prompt.dropped', turnId, reason: 'failed' }).catch(() => {})
        resolve()
      })
    })
  }

  async *#say(turn: Turn, stopped: AbortSignal, run: string): AsyncGenerator<AnswerEvent> {
    const { turnId, prompt } = turn
    const signal = AbortSignal.any([stopped, this.#closing.signal])
    let n = 0
    try {
      yield { type: 'answer.started', turnId, run }
      for (const step of scriptFor(prompt)) {
        if (step.kind === 'tool') yield* this.#runTool(turnId, step, signal)
        else for await (const text of this.#speak(step.text, signal)) yield { type: 'token', turnId, n: n++, text }
      }
    } finally {
      turn.over()
    }
  }

  async *#speak(text: string, signal: AbortSignal): AsyncGenerator<string> {
    // By the clock and not from token to token, so that late timers do not add up.
    let due = Date.now()
    for (const token of tokensOf(text)) {
      if (signal.aborted) return
      yield token
      due += 1_000 / this.#options.tokensPerSecond
      await pause(due - Date.now(), signal)
    }
  }

  async *#runTool(turnId: string, { name, input, notes, result }: ToolStep, signal: AbortSignal) {
    const { toolMs } = this.#options
    const toolId = crypto.randomUUID()
    const at = Date.now()
    if (signal.aborted) return
    yield { type: 'tool.started', turnId, toolId, name, input, at, expectedMs: toolMs } as const
    for (const note of notes) {
      yield { type: 'tool.progress', turnId, toolId, note } as const
      await pause(toolMs / notes.length, signal)
      if (signal.aborted) return
    }
    yield { type: 'tool.ended', turnId, toolId, result, tookMs: Date.now() - at } as const
  }

  #publish(sessionId: string, event: PromptEvent) {
    return this.#options.server.publish(sessionId, event)
  }
}

type ToolStep = Step & { readonly kind: 'tool' }

const isPage = (value: unknown): value is Numbered['page'] => typeof value === 'string' && /^[\w-]{1,64}$/.test(value)

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
