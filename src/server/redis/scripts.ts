import type { Redis } from 'ioredis'

/**
 * Finds the numbering of a session: `epoch` is false where there is none. It has another epoch where the server is another than
 * the one that wrote last (it was restarted, or promoted), because that one may have taken events along that clients have seen.
 * That epoch follows from the old one, so all readers agree on it though Redis may refuse to write it. Only `INFO` knows the
 * server for certain, so it is asked where the caller's word differs.
 */
const OPEN = `
local meta, server, keep = KEYS[1], ARGV[1], tonumber(ARGV[2])
local known = redis.call('HMGET', meta, 'epoch', 'head', 'server')
local epoch, head = known[1], tonumber(known[2] or '0')
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
 * KEYS meta log; ARGV server keep after limit → [epoch, head, entries, why Redis refused to write, '' if it did, nil if nothing
 * had to be written]; epoch '' for a session that nobody has appended to. Reading creates nothing, and needs no write.
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
return { epoch, head, redis.call('XRANGE', KEYS[2], '(0-' .. ARGV[3], '+', 'COUNT', ARGV[4]) or {}, refused }
`

/**
 * KEYS meta log writer once…; ARGV server keep epoch maxEvents maxAge channel inline onceAge n, then for each event: json,
 * the number of its once key or 0, fingerprint → [epoch, seq…], -1 for an id that was used for something else.
 *
 * ioredis repeats what it got no answer to, after a reconnect; `writer` remembers the answer to the last call of this
 * process, and a process has one call per session in the air. What breaks off (a right that is missing) leaves the numbering whole.
 */
const APPEND = `${OPEN}
if epoch ~= known[1] or not epoch then
  if not epoch then
    ask()
    epoch = ARGV[3]
  end
  redis.call('HSET', meta, 'epoch', epoch, 'head', head, 'server', server)
  if not known[1] then redis.call('DEL', KEYS[2]) end
  refresh(redis.call)
end
local n = ARGV[9]
local last = redis.call('GET', KEYS[3])
if last then
  local number, seqs = string.match(last, '^(%d+) (.*)$')
  if number == n then
    local answer = { epoch }
    for seq in string.gmatch(seqs, '[^,]+') do answer[#answer + 1] = tonumber(seq) end
    return answer
  end
  if tonumber(number) > tonumber(n) then return redis.error_reply('STALE a later call came first') end
end
local answer, seqs = { epoch }, {}
for i = 10, #ARGV, 3 do
  local json, key, fingerprint = ARGV[i], KEYS[3 + tonumber(ARGV[i + 1])], ARGV[i + 2]
  if ARGV[i + 1] == '0' then key = nil end
  local known = key and redis.call('GET', key)
  local seq
  if known then
    local number, owner = string.match(known, '^(%d+) (.*)$')
    seq = owner == fingerprint and tonumber(number) or -1
  else
    head = head + 1
    seq = head
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '0-' .. seq, 'e', json)
    redis.call('HSET', meta, 'head', head)
    if key then redis.call('SET', key, seq .. ' ' .. fingerprint, 'PX', ARGV[8]) end
    redis.call('PUBLISH', ARGV[6], epoch .. ' ' .. seq .. (#json <= tonumber(ARGV[7]) and ' ' .. json or ''))
  end
  answer[#answer + 1] = seq
  seqs[#seqs + 1] = seq
end
if ARGV[5] ~= '0' then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
refresh(redis.call)
redis.call('SET', KEYS[3], n .. ' ' .. table.concat(seqs, ','), 'PX', 600000)
return answer
`

/** KEYS receipt; ARGV mine value age: writes (or deletes, if the value is empty) what is still mine, or nobody's. */
const SETTLE = `
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`

export type RawEntry = readonly [id: string, fields: readonly string[]]

/** A client that knows the scripts. */
export interface Scripts {
  holdlineRead(
    ...given: [meta: string, log: string, ...argv: (string | number)[]]
  ): Promise<readonly [epoch: string, head: number, entries: readonly RawEntry[], refused: string | null]>
  holdlineAppend(
    keys: number,
    ...given: (string | number)[]
  ): Promise<readonly [epoch: string, ...seqs: readonly number[]]>
  holdlineSettle(receipt: string, mine: string, value: string, age: number): Promise<number>
}

export function withScripts(redis: Redis): Redis & Scripts {
  redis.defineCommand('holdlineRead', { numberOfKeys: 2, lua: READ })
  redis.defineCommand('holdlineAppend', { lua: APPEND })
  redis.defineCommand('holdlineSettle', { numberOfKeys: 1, lua: SETTLE })
  return redis as Redis & Scripts
}

export const seqOf = (id: string): number => Number(id.slice(id.indexOf('-') + 1))
