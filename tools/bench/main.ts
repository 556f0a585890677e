import { arch, cpus, platform } from 'node:os'
import type { Measurement, Result } from './_bench'
import { aiSdk } from './aiSdk'
import { append } from './append'
import { bundle } from './bundle'
import { drain } from './drain'
import { heap } from './heap'
import { inbound } from './inbound'
import { queue } from './queue'
import { reconnect } from './reconnect'
import { shards } from './shards'
import { streams } from './streams'
import { tabs } from './tabs'
import { trace } from './trace'

const MEASUREMENTS: readonly Measurement[] = [
  bundle,
  inbound,
  reconnect,
  drain,
  queue,
  heap,
  streams,
  trace,
  append,
  shards,
  aiSdk,
  tabs,
]

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !MEASUREMENTS.some((measurement) => measurement.name === name))
if (unknown.length > 0) {
  console.error(`no such measurement: ${unknown.join(', ')}. There are:`)
  for (const { name, about } of MEASUREMENTS) console.error(`  ${name.padEnd(10)} ${about}`)
  process.exit(2)
}

console.log(`Node ${process.version}, ${platform()} ${arch()}, ${cpus().length} cores`)
const results: Result[] = []
for (const { name, about, run } of MEASUREMENTS) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  console.log(`\n${name}: ${about}`)
  results.push(...(await run()))
}
printTable(results)
process.exitCode = results.every(({ isMet }) => isMet) ? 0 : 1

function printTable(lines: readonly Result[]) {
  const head = ['measured', 'holdline', 'baseline, same run', 'held against it', 'bar', '']
  const rows = lines.map((line) => [
    line.name,
    line.ours,
    line.baseline,
    line.value,
    line.bar,
    line.isMet ? 'pass' : 'FAIL',
  ])
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const format = (row: readonly string[]) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
  console.log(`\n${format(head)}\n${widths.map((width) => '─'.repeat(width)).join('  ')}`)
  for (const row of rows) console.log(format(row))
}
