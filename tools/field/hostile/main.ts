import { hasRedis } from '../../../src/__tests__/_redisServer'
import { ATTACKS } from './attacks'
import { createPrograms } from './programs'
import { describeAll, describeOne } from './report'
import { type Result, soak } from './soak'

// npx tsx tools/field/hostile/main.ts [row or part of a name …] [http|websocket] [memory|redis]

const wanted = process.argv.slice(2).map((word) => word.toLowerCase())
const kinds = ['http', 'websocket', 'memory', 'redis']
const names = wanted.filter((word) => !kinds.includes(word))
const chosen = (kind: string, others: readonly string[]) =>
  wanted.includes(kind) || !others.some((other) => wanted.includes(other))

const programs = await createPrograms()
const results: Result[] = []
try {
  for (const attack of ATTACKS) {
    if (names.length && !names.some((name) => `${attack.row} ${attack.name}`.toLowerCase().includes(name))) continue
    for (const over of attack.over) {
      for (const log of attack.logs) {
        if (!chosen(over, ['http', 'websocket']) || !chosen(log, ['memory', 'redis'])) continue
        if (log === 'redis' && !hasRedis) continue
        const result = await soak(programs, attack, over, log)
        results.push(result)
        console.log(describeOne(result))
      }
    }
  }
} finally {
  await programs.remove()
}
console.log(`\n${describeAll(results)}`)
if (!hasRedis) console.log('\nThere is no redis-server: nothing was tried with it.')
process.exitCode = results.some(({ failures }) => failures.length > 0) ? 1 : 0
