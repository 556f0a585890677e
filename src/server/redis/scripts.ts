import type { Cluster, Redis } from 'ioredis'

/** Lua writes larger numbers with an exponent. */
const MAX_SEQ = 99_999_999_999_999
/** About what a stream takes for an event beside its text. */
const ENTRY_BYTES = 32

/**
 * Finds the numbering of a session: `epoch` is false where there is none. It has another epoch
 * where the server is another than the one that wrote last (it was restarted, or promoted), because
 * that one may have taken events along that clients have seen. That epoch follows from the old one,
 * so all readers agree on it though Redis may refuse to write it. Only `INFO` knows the server for
 * certain, so it is asked where the caller's word differs. A numbering that somebody has
 * overwritten is refused as `BADKEY`.
 */
export const OPEN = `
local meta, server, keep = KEYS[1], ARGV[1], tonumber(ARGV[2])
local known = redis.call('HMGET', meta, 'epoch', 'head', 'server', 'bytes', 'kept', 'keptBytes', 'keptAge')
local epoch, head = known[1], tonumber(known[2] or '0')
local function isCount(n) return n and n >= 0 and n < ${MAX_SEQ} and n == math.floor(n) end
if not isCount(head) or epoch and (epoch == '' or #epoch > 64) then
  return redis.error_reply('BADKEY ' .. meta .. ' holds no numbering')
end
local function ask()
  server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
end
if epoch and known[3] ~= server then
  ask()
  if known[3] ~= server then epoch = redis.sha1hex(epoch .. ' ' .. server) end
end
local function refresh(call)
  if keep > 0 and redis.call('PTTL', meta) < keep - 3600000 then call('PEXPIRE', meta, keep) end
end
`

/**
 * KEYS meta log; ARGV server keep after limit longest → [epoch, head, entries, why Redis refused to
 * write, '' if it did, nil if nothing had to be written]; epoch '' for a session that nobody has
 * appended to. An entry that is longer than `longest` comes without its fields; limit -1 asks for
 * the id of the oldest entry alone. Reading creates nothing, and needs no write.
 */
const READ = `${OPEN}
if not epoch then return { '', 0, {}, false } end
local refused = false
local function try(...)
  local reply = redis.pcall(...)
  refused = type(reply) == 'table' and reply.err or refused or ''
end
if epoch ~= known[1] then try('HSET', meta, 'epoch', epoch, 'server', server) end
refresh(try)
local entries, limit, longest = {}, tonumber(ARGV[4]), tonumber(ARGV[5])
if limit ~= 0 then
  entries = redis.call('XRANGE', KEYS[2], '(0-' .. ARGV[3], '0-${MAX_SEQ}', 'COUNT', math.abs(limit)) or {}
end
for _, entry in ipairs(entries) do
  if #(entry[2][2] or '') > longest then entry[2] = false end
end
return { epoch, head, entries, refused }
`

/**
 * Beyond OPEN, for scripts whose KEYS begin with meta log, and ARGV with server keep epoch
 * maxEvents maxAge channel maxBytes. `number` gives the session a numbering, `add` appends, `close`
 * tells of it and cuts the log. What breaks off (a right that is missing) leaves the numbering
 * whole.
 *
 * `bytes` counts all that was ever appended, and `marks` holds where it stood at about each
 * sixteenth of `maxBytes`, so a log is cut without looking at what is cut off. `kept` is the event
 * from which on all are kept, as long as they take no more than `maxBytes`.
 */
export const WRITE = `${OPEN}
local function number()
  if epoch == known[1] and epoch then return end
  if not epoch then
    ask()
    epoch = ARGV[3]
  end
  redis.call('HSET', meta, 'epoch', epoch, 'head', head, 'server', server)
  if not known[1] then redis.call('DEL', KEYS[2]) end
  refresh(redis.call)
end
local before, max, maxEvents, maxAge = head, tonumber(ARGV[7]), tonumber(ARGV[4]), tonumber(ARGV[5])
local total = tonumber(known[4] or '0')
if not isCount(total) then total = 0 end
local function count(n) return tonumber(n or '0') or 0 end
local bytes, kept, keptBytes, keptAge = total, count(known[5]), count(known[6]), count(known[7])
local function add(json)
  head = head + 1
  if kept > 0 then
    redis.call('XADD', KEYS[2], '0-' .. head, 'e', json)
  else
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', maxEvents, '0-' .. head, 'e', json)
  end
  redis.call('HSET', meta, 'head', head)
  bytes = bytes + #json + ${ENTRY_BYTES}
  return head
end
local function cut()
  local step, from = math.ceil(max / 16), nil
  local isWhole = kept > 0 and bytes - keptBytes <= max
  if math.floor(bytes / step) > math.floor(total / step) then
    local marks = {}
    for seq, at in string.gmatch(redis.call('HGET', meta, 'marks') or '1:0', '(%d+):(%d+)') do
      local rest = bytes - at
      if rest >= bytes - total and rest <= max then
        from = from or tonumber(seq)
        marks[#marks + 1] = seq .. ':' .. at
      end
    end
    marks[#marks + 1] = before + 1 .. ':' .. total
    from = from or before + 1
    if isWhole and from > kept then from = kept end
    redis.call('XTRIM', KEYS[2], 'MINID', '0-' .. from)
    redis.call('HSET', meta, 'marks', table.concat(marks, ' '))
  end
  if kept > 0 and head > maxEvents then
    local oldest = head - maxEvents + 1
    if isWhole and oldest > kept then oldest = kept end
    redis.call('XTRIM', KEYS[2], 'MINID', '~', '0-' .. oldest)
  end
end
local function close()
  if head > before then
    redis.call('HSET', meta, 'bytes', bytes)
    redis.call('PUBLISH', ARGV[6], epoch .. ' ' .. head)
  end
  cut()
  if maxAge > 0 then redis.call('PEXPIRE', KEYS[2], math.max(maxAge, kept > 0 and keptAge or 0)) end
  refresh(redis.call)
  if kept > 0 and keep > 0 and redis.call('PTTL', meta) < keptAge then redis.call('PEXPIRE', meta, keptAge) end
end
`

/**
 * KEYS meta log writer once…; ARGV as WRITE, onceAge n, then for each event: json, the number of
 * its once key or 0, fingerprint → [epoch, seq…], -1 for an id that was used for something else,
 * and -1 - seq for one that was appended before.
 *
 * ioredis repeats what it got no answer to, after a reconnect; `writer` remembers the answer to the
 * last call of this process, and a process has one call per session in the air.
 */
const APPEND = `${WRITE}
number()
local n = ARGV[9]
local last = redis.call('GET', KEYS[3])
if last then
  local number, seqs = string.match(last, '^(%d+) (.*)$')
  if number == n then
    local answer = { epoch }
    for seq in string.gmatch(seqs, '-?%d+') do answer[#answer + 1] = tonumber(seq) end
    return answer
  end
  if tonumber(number or 0) > tonumber(n) then return redis.error_reply('STALE a later call came first') end
end
local answer, seqs = { epoch }, {}
for i = 10, #ARGV, 3 do
  local json, key, fingerprint = ARGV[i], KEYS[3 + tonumber(ARGV[i + 1])], ARGV[i + 2]
  if ARGV[i + 1] == '0' then key = nil end
  local once = key and redis.call('GET', key)
  local seq
  if once then
    local number, owner = string.match(once, '^(%d+) (.*)$')
    seq = owner == fingerprint and -1 - tonumber(number) or -1
  else
    seq = add(json)
    if key then redis.call('SET', key, seq .. ' ' .. fingerprint, 'PX', ARGV[8]) end
  end
  answer[#answer + 1] = seq
  seqs[#seqs + 1] = seq
end
close()
redis.call('SET', KEYS[3], n .. ' ' .. table.concat(seqs, ','), 'PX', 600000)
return answer
`

/**
 * KEYS quota receipt…; ARGV mine lease max minAge age prefix → what each receipt holds, `mine` if
 * it is claimed now ('' for another's, if several are asked about), or how many ms it takes until
 * there is room for all of them: all are claimed or none. The quota is a principal's: its receipts
 * by the time when they were last written. What needs memory comes first: once a script has written
 * anything, a full Redis lets it write all.
 */
const CLAIM = `
local mine, prefix, answer, open = ARGV[1], ARGV[6], {}, {}
for i = 2, #KEYS do
  local held = redis.call('GET', KEYS[i])
  if not held then open[string.sub(KEYS[i], #prefix + 1)] = KEYS[i] end
  answer[i - 1] = (not held or held == mine) and mine or #KEYS == 2 and held or ''
end
if not next(open) then return answer end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since, old = now - ARGV[5], {}
local over = redis.call('ZCOUNT', KEYS[1], since, '+inf') - ARGV[3]
for _ in pairs(open) do over = over + 1 end
if over > 0 then
  old = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'WITHSCORES', 'LIMIT', 0, over)
  local wait = (old[2 * over] or now) + ARGV[4] - now
  if wait > 0 then return wait end
end
for _, key in pairs(open) do redis.call('SET', key, mine, 'PX', ARGV[2]) end
for hash in pairs(open) do redis.call('ZADD', KEYS[1], now, hash) end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. since)
for i = 1, #old, 2 do
  if not open[old[i]] then
    redis.call('ZREM', KEYS[1], old[i])
    redis.call('DEL', prefix .. old[i])
  end
end
return answer
`

/**
 * KEYS receipt quota; ARGV mine value age hash quotaAge: writes (or deletes, if the value is empty)
 * what is still mine, or nobody's. From then on it is young: a command may run for longer than a
 * receipt has to be kept.
 */
const SETTLE = `
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('ZREM', KEYS[2], ARGV[4])
  return redis.call('DEL', KEYS[1])
end
local time = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
`

/** `null`: longer than was asked for. */
export type RawEntry = readonly [id: string, fields: readonly string[] | null]

/** A client that knows the scripts. */
export interface Scripts {
  holdlineRead(
    ...given: [meta: string, log: string, ...argv: (string | number)[]]
  ): Promise<readonly [epoch: string, head: number, entries: readonly RawEntry[], refused: string | null]>
  holdlineAppend(
    keys: number,
    ...given: (string | number)[]
  ): Promise<readonly [epoch: string, ...seqs: readonly number[]]>
  holdlineClaim(keys: number, ...given: (string | number)[]): Promise<readonly string[] | number>
  holdlineSettle(receipt: string, quota: string, ...argv: (string | number)[]): Promise<number>
}

/** A client that scripts can be defined for. */
export type Definable = Pick<Redis | Cluster, 'defineCommand'>
/** How a script tells of what it has written. */
export type Publish = 'PUBLISH' | 'SPUBLISH'

export function withScripts<R extends Definable>(redis: R, publish: Publish): R & Scripts {
  redis.defineCommand('holdlineRead', { numberOfKeys: 2, lua: READ })
  redis.defineCommand('holdlineAppend', { lua: publishing(APPEND, publish) })
  redis.defineCommand('holdlineClaim', { lua: CLAIM })
  redis.defineCommand('holdlineSettle', { numberOfKeys: 2, lua: SETTLE })
  return redis as R & Scripts
}

/** The script, where its channels are `publish`ed to. */
export const publishing = (lua: string, publish: Publish): string => lua.replaceAll("'PUBLISH'", `'${publish}'`)

export const seqOf = (id: string): number => Number(id.slice(id.indexOf('-') + 1))
