import { describe, expect, test } from 'vitest'
import { hasRedis } from '../../../tools/shared/redisServer'
import { warnLoudly } from '../../../tools/shared/warnLoudly'

export * from '../../../tools/shared/redisServer'

/** Without one they are skipped, loudly, and on CI that is a failure. */
export function describeWithRedis(what: string, tests: () => void) {
  if (hasRedis) return describe(what, tests)
  const lines = [
    `SKIPPED, because there is no redis-server: ${what}`,
    '',
    'Install one (apt-get install redis-server), or say where it is:',
    'REDIS_SERVER=/path/to/redis-server npm test',
  ]
  warnLoudly(lines)
  describe.skip(what, tests)
  test.runIf(process.env.CI)('on CI there is a redis-server', () => {
    expect.unreachable(lines.join('\n'))
  })
}
