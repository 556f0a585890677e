import { describe, expect, test } from 'vitest'
import { hasRedis } from './_redisServer'

export * from './_redisServer'

/** Skipping them silently would look like success, so it is said loudly, and on CI it is a failure. */
export function describeWithRedis(what: string, tests: () => void) {
  if (hasRedis) return describe(what, tests)
  const lines = [
    `SKIPPED, because there is no redis-server: ${what}`,
    '',
    'Install one (apt-get install redis-server), or say where it is:',
    'REDIS_SERVER=/path/to/redis-server npm test',
  ]
  const width = Math.max(...lines.map(({ length }) => length))
  const rule = '!'.repeat(width + 6)
  console.warn(['', rule, ...lines.map((line) => `!! ${line.padEnd(width)} !!`), rule, ''].join('\n'))
  describe.skip(what, tests)
  test.runIf(process.env.CI)('on CI there is a redis-server', () => {
    expect.unreachable(lines.join('\n'))
  })
}
