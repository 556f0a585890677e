import { hasRedis } from '../../shared/redisServer'
import { ATTACKS } from './attacks'
import { createPrograms } from './programs'
import { describeAll, describeFindings, describeOne } from './report'
import { type Result, soak } from './soak'
import { spring } from './spring'
import { TRAPS } from './traps'

// npx tsx tools/field/hostile/main.ts [row or part of a name …] [http|websocket|eventsource|fetch]
// [memory|redis]

const CHOICES = [
  ['http', 'websocket', 'eventsource', 'fetch'],
  ['memory', 'redis'],
]
const wanted = process.argv.slice(2).map((word) => word.toLowerCase())
const names = wanted.filter((word) => !CHOICES.flat().includes(word))

const isNamed = (what: { readonly row: string; readonly name: string }) =>
  !names.length || names.some((name) => `${what.row} ${what.name}`.toLowerCase().includes(name))
/** Of a choice nothing was said about, or this. */
const isChosen = (choice: string) =>
  wanted.includes(choice) ||
  !CHOICES.find((choices) => choices.includes(choice))?.some((other) => wanted.includes(other))

const programs = await createPrograms()
const results: Result[] = []
let traps = 0
let sprung = 0
try {
  for (const attack of ATTACKS.filter(isNamed)) {
    for (const over of attack.over.filter(isChosen)) {
      for (const log of attack.logs.filter((log) => isChosen(log) && (hasRedis || log !== 'redis'))) {
        const result = await soak(programs, attack, over, log)
        results.push(result)
        console.log(describeOne(result))
      }
    }
  }
  for (const trap of TRAPS.filter(isNamed)) {
    for (const over of trap.over.length ? trap.over.filter(isChosen) : [undefined]) {
      const findings = await spring(programs, trap, over)
      traps += 1
      if (findings.failures.length) sprung += 1
      console.log(describeFindings(trap, over, findings))
    }
  }
} finally {
  await programs.remove()
}
if (results.length) console.log(`\n${describeAll(results)}`)
if (traps) console.log(`\n${traps - sprung} of ${traps} hostile servers and storages did no harm`)
if (!hasRedis) console.log('\nThere is no redis-server: nothing was tried with it.')
process.exitCode = sprung > 0 || results.some(({ failures }) => failures.length > 0) ? 1 : 0
