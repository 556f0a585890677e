import { type Definable, OPEN, type Publish, publishing, WRITE } from './scripts'

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/**
 * KEYS meta log runs ended…; ARGV server keep age → [epoch, head, record, version, kept, now, then
 * for each name whether it has ended]. Runs that are asked about are remembered for another `age`,
 * if Redis takes that: a run may be silent for longer.
 */
const PAGE = `${OPEN}${NOW}
local held = redis.call('HMGET', KEYS[3], 'record', 'version')
local answer = { epoch or '', head, held[1] or '', held[2] or '', tonumber(known[5] or '0') or 0, now }
for i = 4, #KEYS do answer[#answer + 1] = redis.call('GET', KEYS[i]) and 1 or 0 end
if (held[1] or '') ~= '' and redis.call('PTTL', KEYS[3]) < ARGV[3] / 2 then redis.pcall('PEXPIRE', KEYS[3], ARGV[3]) end
return answer
`

/**
 * KEYS meta log runs processes due, then ended… holds… frees…; ARGV as WRITE, session version
 * nextVersion record token keep due lease remembers waits, the numbers of ended holds frees wakes,
 * then the names of the holds, the channels of the wakes, the events → ['other'], or ['done',
 * epoch, kept, seq…]. `keep` is the number of an event, from 1 on, or 'same' or 'none'.
 */
const CHANGE = `${WRITE}${NOW}
local runs, keepFrom, waits, remembers = KEYS[3], ARGV[13], tonumber(ARGV[17]), tonumber(ARGV[16])
local held = redis.call('HMGET', runs, 'version', 'token')
if held[1] == ARGV[10] then return { 'done', epoch or '', kept } end
if (held[1] or '') ~= ARGV[9] then return { 'other' } end
local ended, holds, frees, wakes = tonumber(ARGV[18]), tonumber(ARGV[19]), tonumber(ARGV[20]), tonumber(ARGV[21])
local answer, first = { 'done', epoch or '', kept }, 22 + holds + wakes
redis.call('HSET', runs, 'version', ARGV[10], 'record', ARGV[11], 'token', ARGV[12])
if ARGV[12] ~= held[2] then redis.call('HSET', runs, 'batch', 0) end
redis.call('PEXPIRE', runs, waits + remembers)
if #ARGV >= first then
  number()
  answer[2] = epoch
end
local wasKept = kept
if keepFrom == 'none' then kept = 0 end
for i = first, #ARGV do
  if keepFrom == tostring(i - first + 1) then kept, keptBytes, keptAge = head + 1, bytes, waits + maxAge end
  answer[#answer + 1] = add(ARGV[i])
end
answer[3] = kept
if kept ~= wasKept then redis.call('HSET', meta, 'kept', kept, 'keptBytes', keptBytes, 'keptAge', keptAge) end
if #ARGV >= first then close() end
local at = 5
for i = 1, ended do redis.call('SET', KEYS[at + i], 1, 'PX', remembers) end
at = at + ended
for i = 1, holds do
  redis.call('ZADD', KEYS[at + i], 0, ARGV[8])
  redis.call('PEXPIRE', KEYS[at + i], waits + remembers)
  redis.call('ZADD', KEYS[4], 'NX', now + ARGV[15], ARGV[21 + i])
end
at = at + holds
for i = 1, frees do redis.call('ZREM', KEYS[at + i], ARGV[8]) end
if ARGV[14] == '' then
  redis.call('ZREM', KEYS[5], ARGV[8])
else
  redis.call('ZADD', KEYS[5], ARGV[14], ARGV[8])
end
for i = 1, wakes do redis.call('PUBLISH', ARGV[21 + holds + i], ARGV[8]) end
return answer
`

/**
 * KEYS meta log runs; ARGV as WRITE, token number age event… → ['lost'], ['full'], or ['appended',
 * epoch, seq…], without them for a repeat.
 */
const BATCH = `${WRITE}
local held = redis.call('HMGET', KEYS[3], 'token', 'batch')
if held[1] ~= ARGV[8] then return { 'lost' } end
if tonumber(held[2] or '0') >= tonumber(ARGV[9]) then return { 'appended', epoch or '' } end
local size = 0
for i = 11, #ARGV do size = size + #ARGV[i] + 32 end
if kept == 0 or bytes - keptBytes + size > max then return { 'full' } end
number()
local answer = { 'appended', epoch }
for i = 11, #ARGV do answer[#answer + 1] = add(ARGV[i]) end
redis.call('HSET', KEYS[3], 'batch', ARGV[9])
redis.call('PEXPIRE', KEYS[3], ARGV[10])
close()
return answer
`

/** KEYS processes held; ARGV process lease age → when it may judge the others: `OVERDUE`. */
const RENEW = `${NOW}
local till = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0')
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return till < now + ARGV[2] / 3 and now + ARGV[2] or 0
`

/**
 * KEYS processes due; ARGV prefix limit from → [[process, session…]…], the process '' for sessions
 * that are due. Forgets processes that have nothing. Tells of no process before `from`.
 */
const OVERDUE = `${NOW}
local answer, judged = {}, {}
if now >= tonumber(ARGV[3]) then judged = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 16) end
for _, process in ipairs(judged) do
  local sessions = redis.call('ZRANGEBYSCORE', ARGV[1] .. process, '-inf', '+inf', 'LIMIT', 0, ARGV[2])
  if #sessions == 0 then
    redis.call('ZREM', KEYS[1], process)
  else
    table.insert(sessions, 1, process)
    answer[#answer + 1] = sessions
  end
end
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[2])
if #due > 0 then
  table.insert(due, 1, '')
  answer[#answer + 1] = due
end
return answer
`

/**
 * KEYS processes due held; ARGV process session lease. The session goes behind the others of its
 * process, and that one behind the others that are dead; the process '': a session that is due is
 * due again in a lease.
 */
const POSTPONE = `${NOW}
if ARGV[1] == '' then return redis.call('ZADD', KEYS[2], 'XX', now + ARGV[3], ARGV[2]) end
redis.call('ZADD', KEYS[3], 'XX', now, ARGV[2])
local till = redis.call('ZSCORE', KEYS[1], ARGV[1])
if till and tonumber(till) < now then redis.call('ZADD', KEYS[1], now, ARGV[1]) end
return 0
`

type Argument = string | number

/** A client that knows the scripts of runs. */
export interface RunScripts {
  holdlineRunPage(keys: number, ...given: Argument[]): Promise<readonly Argument[]>
  holdlineRunChange(
    keys: number,
    ...given: Argument[]
  ): Promise<readonly [outcome: string, epoch: string, kept?: number, ...seqs: number[]]>
  holdlineRunBatch(
    keys: number,
    ...given: Argument[]
  ): Promise<readonly [outcome: string, epoch: string, ...seqs: number[]]>
  holdlineRunRenew(processes: string, held: string, process: string, lease: number, age: number): Promise<number>
  holdlineRunOverdue(
    processes: string,
    due: string,
    prefix: string,
    limit: number,
    from: number,
  ): Promise<readonly (readonly string[])[]>
  holdlineRunPostpone(
    processes: string,
    due: string,
    held: string,
    process: string,
    sessionId: string,
    lease: number,
  ): Promise<number>
}

export function withRunScripts<R extends Definable>(redis: R, publish: Publish): R & RunScripts {
  redis.defineCommand('holdlineRunPage', { lua: PAGE })
  redis.defineCommand('holdlineRunChange', { lua: publishing(CHANGE, publish) })
  redis.defineCommand('holdlineRunBatch', { lua: publishing(BATCH, publish) })
  redis.defineCommand('holdlineRunRenew', { numberOfKeys: 2, lua: RENEW })
  redis.defineCommand('holdlineRunOverdue', { numberOfKeys: 2, lua: OVERDUE })
  redis.defineCommand('holdlineRunPostpone', { numberOfKeys: 3, lua: POSTPONE })
  return redis as R & RunScripts
}
