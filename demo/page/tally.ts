import type { Cursor } from 'holdline'
import type { AgentEvent, Numbered, PromptReceipt } from '../events'
import { scriptFor, tokensOf } from '../script'
import { arrive, hasArrived, NOTHING_YET, type Sequence, sizeOf } from './sequence'

/**
 * What this page counts. The prompts: it numbers them, and compares what the server has accepted,
 * what the agent says it has received, and what came back. The tokens: it knows the agent's script,
 * and compares with it each one that arrives. Plain JSON.
 */
export interface Tally {
  readonly page: string
  /** The number of the next prompt. */
  readonly written: number
  readonly accepted: number
  /** As the agent counts. */
  readonly received: number
  /** Those that came back, by their numbers. */
  readonly prompts: Sequence
  /** Accepted ones that have not come back yet. */
  readonly away: readonly Away[]
  /** Answers that are not over, by their turns. */
  readonly answers: Readonly<Record<string, Answer>>
  /** Of the answers that are over. */
  readonly tokens: Counts
}

export interface Counts {
  readonly expected: number
  readonly arrived: number
  readonly lost: number
  readonly doubled: number
  readonly reordered: number
}

interface Away {
  readonly number: number
  /** Where its echo stands; not told by every server. */
  readonly seq?: number | undefined
  readonly epoch?: string | undefined
}

interface Answer {
  readonly prompt: string
  readonly run: string
  readonly heard: Sequence
}

const NO_TOKENS: Counts = { expected: 0, arrived: 0, lost: 0, doubled: 0, reordered: 0 }

export const startTally = (page: string): Tally => ({
  page,
  written: 0,
  accepted: 0,
  received: 0,
  prompts: NOTHING_YET,
  away: [],
  answers: {},
  tokens: NO_TOKENS,
})

/** A prompt was accepted. What came back before that is not away. Pure, as all of this. */
export function countAccepted(tally: Tally, { page, number }: Numbered, receipt: unknown): Tally {
  if (page !== tally.page) return tally
  const { seq, epoch } = (receipt ?? {}) as Partial<PromptReceipt>
  const away = hasArrived(tally.prompts, number) ? tally.away : [...tally.away, { number, seq, epoch }]
  return { ...tally, accepted: tally.accepted + 1, away }
}

/** An event of the session was applied. */
export function countEvent(tally: Tally, event: AgentEvent): Tally {
  switch (event.type) {
    case 'prompt': {
      const { turnId, text } = event
      const answers = { [turnId]: { prompt: text, run: '', heard: NOTHING_YET }, ...tally.answers }
      return event.page === tally.page ? countBack({ ...tally, answers }, event) : { ...tally, answers }
    }
    case 'answer.started':
      return change(tally, event.turnId, ({ prompt, heard }) => ({ prompt, heard, run: event.run }))
    case 'token':
      return change(tally, event.turnId, (answer) => hear(answer, event))
    case 'answer':
    case 'prompt.dropped':
      return close(tally, ([turnId]) => turnId === event.turnId, false)
    case 'run.ended':
      return close(tally, ([, { run }]) => run === event.run, event.reason === 'finished')
    default:
      return tally
  }
}

/** The server has lost the session: of answers that are not over, no more is to be expected. */
export const countReset = (tally: Tally): Tally => close({ ...tally, away: [] }, () => true, false)

export interface Totals {
  /** `expected`: accepted by the server; `arrived`: received by the agent. */
  readonly prompts: Counts & { readonly back: number }
  readonly tokens: Counts
}

/** An accepted prompt is lost if what comes after its echo was applied, but the echo was not. */
export function totalsOf({ accepted, received, prompts, away, answers, tokens }: Tally, cursor: Cursor): Totals {
  const isPassed = ({ seq = Infinity, epoch }: Away) => epoch === cursor.epoch && seq <= cursor.lastSeq
  return {
    prompts: {
      expected: accepted,
      arrived: received,
      back: sizeOf(prompts),
      lost: away.filter(isPassed).length,
      doubled: prompts.doubled,
      reordered: prompts.reordered,
    },
    tokens: Object.values(answers).reduce((sum, { heard }) => add(sum, countsOf(heard, heard.next)), tokens),
  }
}

function countBack(tally: Tally, { number, received }: { readonly number: number; readonly received: number }): Tally {
  return {
    ...tally,
    prompts: arrive(tally.prompts, number),
    received: Math.max(tally.received, received),
    away: tally.away.filter((one) => one.number !== number),
  }
}

/** A token that is not the one that belongs there has not arrived. */
function hear(answer: Answer, { n, text }: { readonly n: number; readonly text: string }): Answer {
  return tokensFor(answer.prompt)[n] === text ? { ...answer, heard: arrive(answer.heard, n) } : answer
}

function change(tally: Tally, turnId: string, next: (answer: Answer) => Answer): Tally {
  const answer = tally.answers[turnId]
  return answer ? { ...tally, answers: { ...tally.answers, [turnId]: next(answer) } } : tally
}

/**
 * Of an answer that is complete, the whole script is expected; of another one, what came before its
 * last token.
 */
function close(tally: Tally, isOver: (entry: [turnId: string, answer: Answer]) => boolean, isComplete: boolean): Tally {
  const entries = Object.entries(tally.answers)
  const tokens = entries
    .filter(isOver)
    .map(([, { prompt, heard }]) => countsOf(heard, isComplete ? tokensFor(prompt).length : heard.next))
    .reduce(add, tally.tokens)
  return { ...tally, tokens, answers: Object.fromEntries(entries.filter((entry) => !isOver(entry))) }
}

function countsOf(heard: Sequence, expected: number): Counts {
  const arrived = sizeOf(heard)
  return { expected, arrived, lost: expected - arrived, doubled: heard.doubled, reordered: heard.reordered }
}

const add = (a: Counts, b: Counts): Counts => ({
  expected: a.expected + b.expected,
  arrived: a.arrived + b.arrived,
  lost: a.lost + b.lost,
  doubled: a.doubled + b.doubled,
  reordered: a.reordered + b.reordered,
})

let lastScript: { readonly prompt: string; readonly tokens: readonly string[] } = { prompt: '', tokens: [] }

/** The script of one answer is asked for with each of its tokens. */
function tokensFor(prompt: string): readonly string[] {
  if (lastScript.prompt !== prompt) {
    const tokens = scriptFor(prompt).flatMap((step) => (step.kind === 'text' ? tokensOf(step.text) : []))
    lastScript = { prompt, tokens }
  }
  return lastScript.tokens
}
