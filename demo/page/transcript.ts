import type { AgentEvent } from '../events'

export type Block =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'tool'
      readonly toolId: string
      readonly name: string
      readonly input: string
      /** ms since the epoch, by the server's clock. */
      readonly startedAt: number
      readonly expectedMs: number
      readonly note: string
      readonly status: 'running' | 'done' | 'stopped'
      readonly result: string
      readonly tookMs: number
    }

/** A prompt and its answer. */
export interface Turn {
  readonly turnId: string
  readonly prompt: string
  /**
   * `cut`: the server has lost the session in the middle of the answer. `lost`: it had accepted the
   * prompt, and lost it before it answered.
   */
  readonly status: 'waiting' | 'answering' | 'done' | 'stopped' | 'failed' | 'cut' | 'lost'
  /** The run that is the answer. */
  readonly run: string
  readonly blocks: readonly Block[]
}

/** Plain JSON, so that it can be stored. What an event does not change stays the same object. */
export interface Transcript {
  readonly turns: readonly Turn[]
}

export const EMPTY: Transcript = { turns: [] }

export const startTurn = (turnId: string, prompt: string, status: Turn['status'] = 'waiting'): Turn => ({
  turnId,
  prompt,
  status,
  run: '',
  blocks: [],
})

/** Pure. Events of types that a newer agent may send change nothing. */
export function apply(transcript: Transcript, event: AgentEvent): Transcript {
  if (event.type === 'prompt') return { turns: [...transcript.turns, startTurn(event.turnId, event.text)] }
  const isIt = ({ turnId, run }: Turn) => ('turnId' in event ? event.turnId === turnId : event.run === run)
  const index = transcript.turns.findLastIndex(isIt)
  const turn = transcript.turns[index]
  return turn ? { turns: transcript.turns.with(index, applyToTurn(turn, event)) } : transcript
}

function applyToTurn(turn: Turn, event: Exclude<AgentEvent, { type: 'prompt' }>): Turn {
  switch (event.type) {
    case 'answer.started':
      return { ...turn, run: event.run, status: 'answering' }
    case 'prompt.dropped':
      return end(turn, event.reason)
    case 'run.ended':
      return end(turn, event.reason === 'finished' ? 'done' : event.reason === 'interrupted' ? 'cut' : event.reason)
    case 'answer':
      return end({ ...turn, blocks: appendText(turn.blocks, event.text) }, 'done')
    case 'token':
      return { ...turn, blocks: appendText(turn.blocks, event.text) }
    case 'tool.started': {
      const { toolId, name, input, at, expectedMs } = event
      const tool = { toolId, name, input, startedAt: at, expectedMs, note: '', result: '', tookMs: 0 }
      return { ...turn, blocks: [...turn.blocks, { kind: 'tool', status: 'running', ...tool }] }
    }
    case 'tool.progress':
      return changeTool(turn, event.toolId, { note: event.note })
    case 'tool.ended':
      return changeTool(turn, event.toolId, { status: 'done', result: event.result, tookMs: event.tookMs })
    default:
      return turn
  }
}

/**
 * What becomes of the turns when the server has lost the session: no more comes of those that are
 * not complete.
 */
export const lose = ({ turns }: Transcript): readonly Turn[] =>
  turns.map((turn) => {
    if (turn.status === 'answering') return end(turn, 'cut')
    return turn.status === 'waiting' ? end(turn, 'lost') : turn
  })

function end(turn: Turn, status: Turn['status']): Turn {
  const isRunning = (block: Block): block is ToolBlock => block.kind === 'tool' && block.status === 'running'
  return {
    ...turn,
    status,
    blocks: turn.blocks.map((block) => (isRunning(block) ? { ...block, status: 'stopped' } : block)),
  }
}

function appendText(blocks: readonly Block[], text: string): readonly Block[] {
  const last = blocks.at(-1)
  if (last?.kind !== 'text') return [...blocks, { kind: 'text', text }]
  return blocks.with(-1, { kind: 'text', text: last.text + text })
}

type ToolBlock = Extract<Block, { kind: 'tool' }>

function changeTool(turn: Turn, toolId: string, change: Partial<ToolBlock>): Turn {
  const isIt = (block: Block): block is ToolBlock => block.kind === 'tool' && block.toolId === toolId
  return { ...turn, blocks: turn.blocks.map((block) => (isIt(block) ? { ...block, ...change } : block)) }
}
