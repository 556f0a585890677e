import { count } from './chapter'
import type { Conversation } from './conversation'
import { byId, setText } from './dom'
import type { Counts } from './tally'

const COLUMNS = ['expected', 'arrived', 'lost', 'doubled', 'reordered'] as const

/** Shows what the page has counted. */
export function createTallyView() {
  const table = byId('tally', 'table')
  const note = byId('tally-note', 'p')

  function fill(row: string, counts: Counts) {
    for (const column of COLUMNS) {
      const cell = table.querySelector<HTMLElement>(`[data-row="${row}"] [data-column="${column}"]`)
      if (!cell) continue
      const isFault = column !== 'expected' && column !== 'arrived' && counts[column] > 0
      setText(cell, String(counts[column]))
      cell.classList.toggle('fault', isFault)
    }
  }

  return ({ prompts, tokens, cut, lost }: Conversation['totals']) => {
    fill('prompts', prompts)
    fill('tokens', tokens)
    const losses = [
      cut ? `${count(cut, 'answer', 'answers')} cut off` : '',
      lost ? `${count(lost, 'message', 'messages')} left without an answer` : '',
    ].filter(Boolean)
    note.hidden = losses.length === 0
    setText(note, losses.length ? `By restarts of the server: ${losses.join(', ')}.` : '')
  }
}

/** In a sentence. */
export function tellTotals({ prompts, tokens }: Conversation['totals']): string {
  const [lost, doubled, reordered] = (['lost', 'doubled', 'reordered'] as const).map(
    (name) => prompts[name] + tokens[name],
  )
  return `Counted so far: ${count(prompts.expected, 'message', 'messages')} and ${count(tokens.expected, 'token', 'tokens')}; lost ${lost}, doubled ${doubled}, out of order ${reordered}.`
}
