import type { Result } from './soak'
import type { ClientWire, Trap } from './trap'
import type { Findings } from './types'

const COLUMNS = [
  'row',
  'attack',
  'over',
  'log',
  'verdict',
  'RSS MiB',
  'kept',
  'send p99',
  'arrive p99',
  'back ms',
] as const

/** One result in full. */
export function describeOne({ attack, over, log, failures, findings, ...result }: Result): string {
  const facts = Object.entries(findings?.facts ?? {}).map(([name, value]) => `${name} ${value}`)
  const errors = result.account?.errors.length ? [`client errors: ${result.account.errors.join(', ')}`] : []
  return [
    `${failures.length ? 'FAIL' : 'pass'} ${attack.row} ${attack.name} over ${over}, ${log} log`,
    `     ${cells({ attack, over, log, failures, findings, ...result })
      .slice(5)
      .map((cell, n) => `${COLUMNS[n + 5]} ${cell}`)
      .join(' · ')}`,
    ...[...facts, ...errors].slice(0, 8).map((fact) => `     ${fact}`),
    ...failures.map((failure) => `   ✗ ${failure}`),
  ].join('\n')
}

export function describeAll(results: readonly Result[]): string {
  const rows = [COLUMNS, ...results.map(cells)]
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)))
  const lines = rows.map((row) =>
    row
      .map((cell, column) => String(cell).padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  const failed = results.filter(({ failures }) => failures.length > 0).length
  return [...lines, '', `${results.length - failed} of ${results.length} held`].join('\n')
}

function cells({
  attack,
  over,
  log,
  failures,
  rss,
  kept,
  quiet,
  attacked,
  reconnected,
  end,
}: Result): readonly string[] {
  return [
    attack.row,
    attack.name,
    over,
    log,
    end ? 'ENDED' : failures.length ? 'FAIL' : 'pass',
    `${rss.start}→${rss.peak}`,
    String(kept ?? '–'),
    `${quiet.send}→${attacked?.send ?? '–'}`,
    `${quiet.arrive}→${attacked?.arrive ?? '–'}`,
    reconnected === null ? 'never' : String(reconnected ?? '–'),
  ]
}

/** What a trap has found. */
export function describeFindings(trap: Trap, over: ClientWire | undefined, { failures, facts }: Findings): string {
  const told = Object.entries(facts).map(([name, value]) => `${name} ${value}`)
  return [
    `${failures.length ? 'FAIL' : 'pass'} ${trap.row} ${trap.name}${over ? ` over ${over}` : ''}`,
    ...(told.length ? [`     ${told.join(' · ')}`] : []),
    ...failures.map((failure) => `   ✗ ${failure}`),
  ].join('\n')
}
