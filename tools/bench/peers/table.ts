import { median } from '../_bench'
import { BASELINE } from './peers'
import { type Busy, OUTAGE, PATIENCE, type Prompted, type Silent, type Wait } from './scenarios'

/** One library, as it was measured. */
export interface Row {
  readonly name: string
  /** `name version`, of the library and of those that it needs. */
  readonly versions: readonly string[]
  readonly carrier: string
  readonly server: string
  /** Minified and gzipped, bytes. */
  readonly bundle: number
  /** Messages per CPU second. */
  readonly inbound: readonly number[]
  readonly drop: readonly Wait[]
  readonly busy: readonly Busy[]
  readonly silent: readonly Silent[]
  /** Empty where there is no way up; so are the next two. */
  readonly promptWhileDown: readonly Prompted[]
  readonly promptIntoSilence: readonly Prompted[]
  readonly promptUnanswered: readonly Prompted[]
}

export interface Results {
  readonly at: string
  readonly node: string
  readonly cores: number
  readonly messages: number
  readonly rounds: number
  readonly rows: readonly Row[]
}

type Column = readonly [title: string, cell: (row: Row, baseline: Row | undefined) => string]

const LINE: readonly Column[] = [
  ['', ({ name }) => name],
  ['carried by', ({ carrier }) => carrier],
  ['bundle, kB', ({ bundle }) => (bundle / 1_000).toFixed(1)],
  ['messages per CPU second', (row, baseline) => `${thousands(median(row.inbound))}${ratioTo(row, baseline)}`],
  ['socket destroyed → usable, ms', ({ drop }) => formatDrop(drop)],
  [`503 for ${OUTAGE / 1_000} s`, ({ busy }) => formatBusy(busy)],
  ['dead without a word', ({ silent }) => formatSilent(silent)],
]
const PROMPTS: readonly Column[] = [
  ['a prompt', ({ name }) => name],
  ['sent while the line is down', ({ promptWhileDown }) => formatPrompt(promptWhileDown)],
  ['sent into the dead line', ({ promptIntoSilence }) => formatPrompt(promptIntoSilence)],
  ['whose answer is lost', ({ promptUnanswered }) => formatPrompt(promptUnanswered)],
]

export function formatTables({ at, node, cores, messages, rounds, rows }: Results): string {
  return [
    ...formatTable(LINE, rows),
    '',
    ...formatTable(PROMPTS, rows),
    '',
    `Made on ${at.slice(0, 10)} with Node ${node} on ${cores} cores: ${rounds} rounds, floods of ${messages.toLocaleString('en')} messages.`,
    '',
    ...new Set(rows.map(({ versions, server }) => `- ${versions.join(', with ')}; server: ${server}`)),
  ].join('\n')
}

function formatTable(columns: readonly Column[], rows: readonly Row[]): readonly string[] {
  const baseline = rows.find(({ name }) => name === BASELINE)
  const cells = rows.map((row) => columns.map(([, cell]) => cell(row, baseline)))
  return [columns.map(([title]) => title), columns.map(() => '---'), ...cells].map(
    (line) => `| ${line.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`,
  )
}

/** Of the rounds one by one, as a slow drift of the machine touches both sides. */
function ratioTo({ name, inbound }: Row, baseline: Row | undefined): string {
  if (!baseline || name === baseline.name) return ''
  const ratios = inbound.map((value, round) => value / (baseline.inbound[round] ?? Number.NaN))
  return ` (× ${median(ratios).toFixed(2)})`
}

function formatDrop(waits: readonly Wait[]): string {
  const [range, missing] = spread(waits, (ms) => Math.round(ms).toLocaleString('en'))
  return [range, missing && `never: ${missing}`].filter(Boolean).join('; ')
}

function formatBusy(outcomes: readonly Busy[]): string {
  const requests = range(outcomes.map((outcome) => outcome.requests))
  const [range_, missing] = spread(
    outcomes.map(({ back }) => back),
    seconds,
  )
  const back = range_ && `back ${range_} s after it`
  const never = missing && `${missing === 'all' ? 'not back' : `${missing} not back`} in ${PATIENCE / 1_000} s`
  return `${[back, never].filter(Boolean).join('; ')}; ${requests} ${requests === '1' ? 'request' : 'requests'}`
}

function formatSilent(outcomes: readonly Silent[]): string {
  const [noticed, missed] = spread(
    outcomes.map((outcome) => outcome.noticed),
    seconds,
  )
  const [back] = spread(
    outcomes.map((outcome) => outcome.back),
    seconds,
  )
  const never = missed && `${missed === 'all' ? 'not noticed' : `${missed} not noticed`} in ${PATIENCE / 1_000} s`
  const seen = noticed && `noticed after ${noticed} s, ${back ? `usable after ${back} s` : 'not usable again'}`
  return [seen, never].filter(Boolean).join('; ')
}

function formatPrompt(outcomes: readonly Prompted[]): string {
  if (outcomes.length === 0) return 'no way up'
  const told = new Set(outcomes.map(({ told }) => told?.replace(/^an error: .*/s, 'an error') ?? 'nothing'))
  return `${countArrivals(outcomes)}; told ${[...told].sort().join(' or ')}`
}

function countArrivals(outcomes: readonly Prompted[]): string {
  const most = Math.max(...outcomes.map(({ arrivals }) => arrivals))
  const arrived = outcomes.filter(({ arrivals }) => arrivals > 0).length
  const often = most > 1 ? `up to ${most} times` : 'once'
  if (arrived === 0) return 'lost'
  return arrived === outcomes.length ? `arrives, ${often}` : `arrives in ${arrived} of ${outcomes.length}, ${often}`
}

/** The median with its range, and how many of the waits were in vain. */
function spread(waits: readonly Wait[], format: (ms: number) => string): readonly [text: string, missing: string] {
  const met = waits.filter((wait): wait is number => wait !== null)
  const missing = waits.length - met.length
  const text = met.length > 0 ? `${format(median(met))} (${format(Math.min(...met))}–${format(Math.max(...met))})` : ''
  return [text, missing === 0 ? '' : met.length === 0 ? 'all' : `${missing} of ${waits.length}`]
}

function range(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)]
  return least === most ? String(least) : `${least}–${most}`
}

const seconds = (ms: number) => (ms / 1_000).toFixed(1)
const thousands = (value: number) => (Math.round(value / 1_000) * 1_000).toLocaleString('en')
