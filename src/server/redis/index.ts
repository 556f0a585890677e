export { type RedisLog, type RedisLogOptions, redisLog } from './redisLog'
