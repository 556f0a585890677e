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

export type Agent = ReturnType<typeof createAgent>

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
export function createAgent({ publish, tokensPerSecond, toolMs, onPrompt }: AgentOptions) {
  /** Of each session the turn that is being answered, and those that wait for it. */
  const sessions = new Map<string, Turn[]>()
  let isClosed = false

  /** Returns as soon as the command is taken on; what comes of it is published later. */
  async function handle({ type, sessionId, message, idempotencyKey }: CommandCall): Promise<object> {
    if (sessionId === undefined) throw new CommandRejected(400, 'session-missing')
    switch (type) {
      case 'send': {
        const { prompt } = message
        if (typeof prompt !== 'string' || prompt.trim() === '') throw new CommandRejected(400, 'empty-prompt')
        if (prompt.length > MAX_PROMPT) throw new CommandRejected(413, 'prompt-too-long')
        const waiting = sessions.get(sessionId)?.length ?? 0
        if (waiting >= MAX_TURNS || (waiting === 0 && sessions.size >= MAX_ANSWERS))
          throw new CommandRejected(409, 'busy')
        const turnId = idempotencyKey ?? crypto.randomUUID()
        onPrompt?.(sessionId, prompt)
        await publish(sessionId, { type: 'prompt', turnId, text: prompt })
        takeOn({ sessionId, turnId, prompt, abort: new AbortController() })
        return { turnId }
      }
      case 'stop':
        return { stopped: stop(sessionId, (turn) => turn.turnId === message.turnId) }
      case 'interrupt':
        return { stopped: stop(sessionId, (_, index) => index === 0) }
      default:
        throw new CommandRejected(400, 'not-for-this-agent')
    }
  }

  function takeOn(turn: Turn) {
    const turns = sessions.get(turn.sessionId)
    if (turns) turns.push(turn)
    else {
      const first = [turn]
      sessions.set(turn.sessionId, first)
      void answerAll(turn.sessionId, first)
    }
  }

  function stop(sessionId: string, isMeant: (turn: Turn, index: number) => boolean): number {
    const turns = (sessions.get(sessionId) ?? []).filter(isMeant)
    for (const turn of turns) turn.abort.abort()
    return turns.length
  }

  async function answerAll(sessionId: string, turns: Turn[]) {
    for (let turn = turns[0]; turn && !isClosed; turn = turns[0]) {
      await answer(turn)
      turns.shift()
    }
    sessions.delete(sessionId)
  }

  async function answer({ sessionId, turnId, prompt, abort: { signal } }: Turn) {
    await publish(sessionId, { type: 'answer.started', turnId })
    for (const step of scriptFor(prompt)) {
      if (signal.aborted) break
      if (step.kind === 'text') await say(sessionId, turnId, step.text, signal)
      else await runTool(sessionId, turnId, step, signal)
    }
    if (isClosed) return
    await publish(sessionId, { type: 'answer.ended', turnId, outcome: signal.aborted ? 'stopped' : 'done' })
  }

  async function say(sessionId: string, turnId: string, text: string, signal: AbortSignal) {
    // By the clock and not from token to token, so that late timers do not add up.
    let due = Date.now()
    for (const token of tokensOf(text)) {
      if (signal.aborted) return
      await publish(sessionId, { type: 'token', turnId, text: token })
      due += 1_000 / tokensPerSecond
      await pause(due - Date.now(), signal)
    }
  }

  async function runTool(sessionId: string, turnId: string, step: Step & { kind: 'tool' }, signal: AbortSignal) {
    const { name, input, notes, result } = step
    const toolId = crypto.randomUUID()
    const at = Date.now()
    await publish(sessionId, { type: 'tool.started', turnId, toolId, name, input, at, expectedMs: toolMs })
    for (const note of notes) {
      if (signal.aborted) break
      await publish(sessionId, { type: 'tool.progress', turnId, toolId, note })
      await pause(toolMs / notes.length, signal)
    }
    if (isClosed) return
    const outcome = signal.aborted ? 'stopped' : 'done'
    await publish(sessionId, {
      type: 'tool.ended',
      turnId,
      toolId,
      outcome,
      result: signal.aborted ? '' : result,
      tookMs: Date.now() - at,
    })
  }

  return {
    handle,
    /** Says nothing more. */
    close() {
      isClosed = true
      for (const turns of sessions.values()) for (const { abort } of turns) abort.abort()
      sessions.clear()
    },
  }
}

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
