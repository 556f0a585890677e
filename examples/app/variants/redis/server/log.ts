import type { SessionLog } from 'holdline/server'
import { redisLog } from 'holdline/server/redis'

// Where the events of the sessions are until every page has them: in Redis, so that any number of
// processes may serve the same users, and a restart loses nothing. It is a buffer for replays; what
// was said is kept by the transcripts of main.ts. docs/scaling.md of holdline says what Redis has
// to be.

const redis = redisLog({
  url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379',
  prefix: process.env.REDIS_PREFIX ?? 'holdline',
  // A day.
  maxAge: 86_400_000,
})

export const log: SessionLog = redis

export const closeLog = () => redis.close()
