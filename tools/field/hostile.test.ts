import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATTACKS } from './hostile/attacks'
import { createPrograms, type Programs } from './hostile/programs'
import { describeFindings, describeOne } from './hostile/report'
import { soak } from './hostile/soak'
import { spring } from './hostile/spring'
import { TRAPS } from './hostile/traps'
import type { LogKind } from './hostile/types'
import { describeWith, findTool } from './tools'

let programs: Programs
beforeAll(async () => {
  programs = await createPrograms()
})
afterAll(() => programs.remove())

const TIMEOUT = 60_000

/**
 * One hostile and one honest client on one server: docs/internals/proof.md says what has to hold.
 */
function soakAll(log: LogKind) {
  for (const attack of ATTACKS.filter(({ logs }) => logs.includes(log))) {
    for (const over of attack.over) {
      test(
        `${attack.row}: ${attack.name}, over ${over}`,
        async () => {
          const result = await soak(programs, attack, over, log)
          expect(result.failures, describeOne(result)).toEqual([])
        },
        TIMEOUT,
      )
    }
  }
}

describe('an attack harms nobody else, on the memory log', () => soakAll('memory'))

const redisServer = process.env.REDIS_SERVER ?? findTool('redis-server')
describeWith('an attack harms nobody else, on Redis', { 'redis-server': redisServer }, () => soakAll('redis'))

describe('a hostile server, or a shared storage, harms no client', () => {
  for (const trap of TRAPS) {
    for (const over of trap.over.length ? trap.over : [undefined]) {
      test(
        `${trap.row}: ${trap.name}${over ? `, over ${over}` : ''}`,
        async () => {
          const findings = await spring(programs, trap, over)
          expect(findings.failures, describeFindings(trap, over, findings)).toEqual([])
        },
        TIMEOUT,
      )
    }
  }
})
