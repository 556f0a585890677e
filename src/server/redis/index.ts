export type { RedisLogOptions } from './options'
export { type RedisLog, redisLog } from './redisLog'
