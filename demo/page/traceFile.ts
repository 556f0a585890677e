import type { Trace } from 'holdline'
import { formatTrace, parseTrace, type Replay, replayTrace } from 'holdline/inspect'
import { byId, h } from './dom'

/** A trace that somebody saved, and what the machine of this page would have made of it. */
export interface Loaded {
  readonly name: string
  readonly trace: Trace
  readonly replay: Replay
}

interface TraceFileHandlers {
  /** What is looked at. */
  trace(): Trace
  show(loaded: Loaded): void
  tell(text: string): void
}

/** Save, load and copy. */
export function bindTraceFile({ trace, show, tell }: TraceFileHandlers) {
  const file = byId('file', 'input')

  byId('save', 'button').addEventListener('click', () => {
    const { startedAt, steps } = trace()
    const name = `holdline-${new Date(startedAt).toISOString().replaceAll(/[:.]/g, '-')}.json`
    const url = URL.createObjectURL(new Blob([JSON.stringify(trace(), null, 2)], { type: 'application/json' }))
    h('a', { href: url, download: name }).click()
    URL.revokeObjectURL(url)
    tell(`Saved ${steps.length} steps as ${name}.`)
  })

  byId('load', 'button').addEventListener('click', () => file.click())
  file.addEventListener('change', async () => {
    const [chosen] = file.files ?? []
    // The same file may be chosen again.
    file.value = ''
    if (!chosen) return
    try {
      const loaded = parseTrace(await chosen.text())
      show({ name: chosen.name, trace: loaded, replay: replayTrace(loaded) })
    } catch (error) {
      tell(`${chosen.name} is no trace. ${error instanceof Error ? error.message : error}`)
    }
  })

  byId('copy', 'button').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(formatTrace(trace()))
      tell('Copied. It holds no message, no header and no id.')
    } catch (error) {
      tell(`The browser did not let it be copied. ${error instanceof Error ? error.message : error}`)
    }
  })
}

/** In words, what the replay has shown. */
export function verdictOf({ name, trace, replay }: Loaded): string {
  const { divergence } = replay
  const count = `${trace.steps.length} ${trace.steps.length === 1 ? 'step' : 'steps'}`
  if (!divergence) return `${name}: ${count}. The machine of this page decides the same at each of them.`
  const { index, recorded, replayed } = divergence
  return `${name}: ${count}. At step ${index + 1} the machine of this page decides otherwise: recorded ${inWords(recorded)}, here ${inWords(replayed)}.`
}

type Told = { readonly to?: string | null | undefined; readonly refused?: boolean | undefined }
export const inWords = ({ to, refused }: Told) => (refused ? 'refused' : `→ ${to ?? 'no such state'}`)
