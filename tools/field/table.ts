import type { ContractCell } from './contract'

export interface Cell extends ContractCell {
  readonly version: string
  readonly hasPassed: boolean
}

/** Host × transport: how many of the cases that it is promised for have passed. */
export function formatTable(cells: readonly Cell[]): string {
  const [hosts, transports] = [distinct(cells, 'host'), distinct(cells, 'transport')]
  const rows = hosts.map((host) => {
    const own = cells.filter((cell) => cell.host === host)
    const { version = '' } = own.find((cell) => cell.version) ?? {}
    const counts = transports.map((transport) => countOf(own.filter((cell) => cell.transport === transport)))
    return [`${host.replace(/ \d+$/, '')} ${version}`, ...counts]
  })
  const lines = [['', ...transports], ['---', ...transports.map(() => '---')], ...rows]
  return lines.map((line) => `| ${line.join(' | ')} |`).join('\n')
}

const distinct = <Key extends 'host' | 'transport'>(cells: readonly Cell[], key: Key) => [
  ...new Set(cells.map((cell) => cell[key])),
]

function countOf(cells: readonly Cell[]): string {
  const promised = cells.filter(({ isException }) => !isException)
  return `${promised.filter(({ hasPassed }) => hasPassed).length}/${promised.length}`
}
