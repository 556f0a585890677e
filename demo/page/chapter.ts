import type { Turn } from './transcript'

/** What was said until the server lost it, and how that is told. Plain JSON. */
export interface Chapter {
  readonly turns: readonly Turn[]
  readonly why: string
}

/** Earlier ones are forgotten. */
const MAX_CHAPTERS = 20

export const addChapter = (chapters: readonly Chapter[], chapter: Chapter): readonly Chapter[] =>
  [...chapters, chapter].slice(-MAX_CHAPTERS)

export interface Loss {
  /** As they are after it. */
  readonly turns: readonly Turn[]
  /** The server began anew. Otherwise it has let go of old events. */
  readonly isRestart: boolean
  /** Messages that were not delivered. */
  readonly queued: number
}

/** In plain words what is lost, and what is not. */
export function tellLoss({ turns, isRestart, queued }: Loss): string {
  const [cut, lost] = (['cut', 'lost'] as const).map((status) => turns.filter((turn) => turn.status === status).length)
  const losses = [
    cut ? `${count(cut, 'answer was', 'answers were')} cut off` : '',
    lost ? `${count(lost, 'accepted message has', 'accepted messages have')} no answer` : '',
  ].filter(Boolean)
  return [
    isRestart
      ? 'The server restarted and lost this conversation.'
      : 'The server no longer has the beginning of this conversation.',
    losses.length ? `${capitalise(losses.join(', and '))}.` : 'No answer was under way.',
    'This page still shows what it had received.',
    queued ? `${capitalise(count(queued, 'message that was', 'messages that were'))} not delivered yet will be.` : '',
  ]
    .filter(Boolean)
    .join(' ')
}

/** How many answers were cut off, and how many accepted messages have none. */
export function lossesOf(chapters: readonly Chapter[], turns: readonly Turn[]) {
  const all = [...chapters.flatMap((chapter) => chapter.turns), ...turns]
  const of = (status: Turn['status']) => all.filter((turn) => turn.status === status).length
  return { cut: of('cut'), lost: of('lost') }
}

export const count = (number: number, one: string, many: string) => `${number} ${number === 1 ? one : many}`

const capitalise = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)
