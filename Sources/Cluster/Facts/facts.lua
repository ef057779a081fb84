-- Facts: what is revoked, and the keys that the cluster has made. One log of them (the stream `facts:log`), which every node
-- reads from where it stands; `facts:meta` says how far it goes and what it comes from.
--
-- Each entry has a number, one more than the one before, and a chain: SHA-1 of the chain before and the entry. A node
-- computes the chain itself, so that it notices whatever is missing, repeated, changed, or from another past. An epoch is a
-- stretch of the log that nothing was lost of, so it ends with the primary that it began on: what follows in the log of the
-- next one may have the numbers of what is lost. Whoever finds another primary, or that something is missing, opens another
-- epoch; then every node compares the log with what it holds and adds again what the log lacks.
-- To add is harmless however often it is done: a revocation is known by its mark, a key by its id, and of two records the
-- stronger one holds. So it does not matter who opens an epoch, as long as only one of them does: the one who names the
-- epoch that is to end.
--
-- An entry is a record: its type (r a revocation, k a key), eight bytes of mark or id, eight bytes by which the stronger is
-- known, and more that only nodes read (but for a key's state, the byte behind). The strongest record of each is kept in
-- `facts:r` and `facts:k` beside the log, for those who ask.

-- Entries of the log, more or less: nodes that are further behind take a snapshot first.
local FACT_LOG = 200000
local FACT_BATCH, FACT_BYTES, FACT_READ, FACT_CHUNKS = 512, 4096, 2000, 4096

-- What the primary that runs this says of its history of writes; empty where the user may not know.
local function replication()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and info or ''
end

-- What names that history.
local function primary(info) return string.match(info, 'master_replid:(%x+)') or '' end

-- How far it goes, and how far some replica has told that it has followed: -1 where none has told anything, since there is
-- none, or it has yet to take in what was there before.
local function progress(info)
  local followed = -1
  for replica in string.gmatch(info, 'slave%d+:[^\r\n]+') do
    local offset = tonumber(string.match(replica, 'state=online.*,offset=(%d+)') or 0)
    if offset > followed and offset > 0 then followed = offset end
  end
  return tonumber(string.match(info, 'master_repl_offset:(%d+)') or 0), followed
end

-- Whether a replica has told something in the last two seconds; also where none ever has.
local function is_followed(info)
  local has_replicas = false
  for replica in string.gmatch(info, 'slave%d+:[^\r\n]+') do
    local offset, lag = string.match(replica, 'state=online.*,offset=(%d+),lag=(%d+)')
    if offset and tonumber(offset) > 0 then
      -- In whole seconds, of which up to one more has passed.
      if tonumber(lag) <= 1 then return true end
      has_replicas = true
    end
  end
  return not has_replicas
end

local function fact_meta(prefix)
  local info = replication()
  local all = redis.call('HMGET', prefix .. ':facts:meta', 'epoch', 'seq', 'chain', 'snapshot', 'primary')
  return {
    epoch = tonumber(all[1] or 0), seq = tonumber(all[2] or 0), chain = all[3] or '', snapshot = all[4] or '',
    is_other = (all[5] or '') ~= primary(info), info = info,
  }
end

-- Nil where `epoch` is the running one, otherwise the refusal: the caller must look at the log anew.
local function fact_epoch(meta, epoch)
  if meta.epoch > 0 and meta.epoch == tonumber(epoch) and not meta.is_other then return nil end
  return refuse('EPOCH', whole(meta.epoch))
end

-- What holds of two records of one thing; nil where it is the old one. Of keys the one of the higher version, two numbers of
-- four bytes. Revocations have the second before which and the one up to which they revoke there: the later of each holds.
local function stronger(kind, new, old)
  if not old then return new end
  local first, second = struct.unpack('>I4I4', new, 10)
  local old_first, old_second = struct.unpack('>I4I4', old, 10)
  if kind == 'k' then
    return (first > old_first or first == old_first and second > old_second) and new or nil
  end
  if first <= old_first and second <= old_second then return nil end
  local both = struct.pack('>I4I4', math.max(first, old_first), math.max(second, old_second))
  return string.sub(new, 1, 9) .. both .. string.sub(new, 18)
end

-- How far the log goes: epoch, number, chain, the digest of the newest snapshot's manifest, and whether the epoch is another
-- primary's (1).
define('fact-head', 0, 0, function(prefix)
  local meta = fact_meta(prefix)
  return { whole(meta.epoch), whole(meta.seq), meta.chain, meta.snapshot, meta.is_other and 1 or 0 }
end)

-- Nil where all are records.
local function fact_check(records)
  for _, record in ipairs(records) do
    local kind = string.sub(record, 1, 1)
    if #record < 17 or #record > FACT_BYTES or (kind ~= 'r' and kind ~= 'k') then
      return refuse('MALFORMED', 'this is no record')
    end
  end
  return nil
end

-- Adds records, each of them unless one that is as strong is there. Answers with the epoch, the number of the last entry, how
-- many were added, and the chain there: the number alone may be another entry's after a failover.
define('fact-add', 2, FACT_BATCH + 1, function(prefix, now, epoch, ...)
  local meta = fact_meta(prefix)
  local records, added = { ... }, 0
  local refusal = fact_epoch(meta, epoch) or fact_check(records)
  if refusal then return refusal end
  for _, record in ipairs(records) do
    local kind, id = string.sub(record, 1, 1), string.sub(record, 2, 9)
    local key = prefix .. ':facts:' .. kind
    local holds = stronger(kind, record, redis.call('HGET', key, id))
    if holds then
      redis.call('HSET', key, id, holds)
      meta.seq, meta.chain, added = meta.seq + 1, redis.sha1hex(meta.chain .. holds), added + 1
      redis.call('XADD', prefix .. ':facts:log', 'MAXLEN', '~', FACT_LOG, whole(meta.seq) .. '-0',
        'r', holds, 'c', meta.chain)
    end
  end
  if added > 0 then
    redis.call('HSET', prefix .. ':facts:meta', 'seq', whole(meta.seq), 'chain', meta.chain)
    publish(prefix, 'facts', whole(meta.epoch) .. ' ' .. whole(meta.seq))
  end
  return { whole(meta.epoch), whole(meta.seq), added, meta.chain }
end)

-- Entries behind `from`, at most `count`: the head, how far the primary had written before and a replica has followed, then
-- number, record and chain of each. Something is written then: a replica that has told to be further than what was written
-- before was one when this was asked, so that there was no other primary. (And one that lacks replicas refuses.)
define('fact-read', 3, 3, function(prefix, now, epoch, from, count)
  local meta = fact_meta(prefix)
  local refusal = fact_epoch(meta, epoch)
  if refusal then return refusal end
  local written, followed = progress(meta.info)
  redis.call('HSET', prefix .. ':facts:meta', 'read', whole(now))
  local most = math.min(tonumber(count), FACT_READ)
  local answer = { whole(meta.epoch), whole(meta.seq), meta.chain, meta.snapshot, whole(written), whole(followed) }
  local found = redis.call('XRANGE', prefix .. ':facts:log', whole(tonumber(from) + 1) .. '-0', '+', 'COUNT', most)
  for _, entry in ipairs(found) do
    answer[#answer + 1] = string.match(entry[1], '^%d+')
    answer[#answer + 1] = entry[2][2]
    answer[#answer + 1] = entry[2][4]
  end
  return answer
end)

-- The chains of the entries up to `last`, newest first, at most `count`: number and chain of each; where they are all, also
-- of the place at which the log began.
define('fact-chains', 3, 3, function(prefix, now, epoch, last, count)
  local meta = fact_meta(prefix)
  local refusal = fact_epoch(meta, epoch)
  if refusal then return refusal end
  local answer, most = {}, math.min(tonumber(count), FACT_READ)
  local found = redis.call('XREVRANGE', prefix .. ':facts:log', whole(tonumber(last)) .. '-0', '-', 'COUNT', most)
  for _, entry in ipairs(found) do
    answer[#answer + 1] = string.match(entry[1], '^%d+')
    answer[#answer + 1] = entry[2][4]
  end
  local base = redis.call('HMGET', prefix .. ':facts:meta', 'base', 'basechain')
  if #found < most and base[1] and tonumber(base[1]) <= tonumber(last) then
    answer[#answer + 1] = base[1]
    answer[#answer + 1] = base[2]
  end
  return answer
end)

-- Ends the epoch `former` and begins `epoch`, a higher one. The log goes on where it stands, which its last entry says better
-- than `facts:meta`; where there is none it begins behind `seq` and `chain`, where the caller stands. Answers with the head of
-- whatever epoch runs now.
define('fact-open', 4, 4, function(prefix, now, former, epoch, seq, chain)
  local meta = fact_meta(prefix)
  if meta.epoch == tonumber(former) and tonumber(epoch) > meta.epoch then
    if meta.epoch == 0 then
      redis.call('DEL', prefix .. ':facts:log')
      redis.call('HSET', prefix .. ':facts:meta', 'seq', whole(tonumber(seq)), 'chain', chain,
        'base', whole(tonumber(seq)), 'basechain', chain)
    end
    local last = redis.call('XREVRANGE', prefix .. ':facts:log', '+', '-', 'COUNT', 1)[1]
    if last then
      redis.call('HSET', prefix .. ':facts:meta', 'seq', string.match(last[1], '^%d+'), 'chain', last[2][4])
    end
    redis.call('HSET', prefix .. ':facts:meta', 'epoch', whole(tonumber(epoch)), 'primary', primary(meta.info))
    meta = fact_meta(prefix)
    publish(prefix, 'facts', whole(meta.epoch) .. ' ' .. whole(meta.seq))
  end
  return { whole(meta.epoch), whole(meta.seq), meta.chain, meta.snapshot }
end)

-- What is kept of revocations, by their marks; refused by a primary whose replicas have all been silent for two seconds: they
-- may have another one by now.
define('fact-held', 1, 16, function(prefix, now, ...)
  if not is_followed(replication()) then return refuse('ALONE', 'no replica has told anything for two seconds') end
  return redis.call('HMGET', prefix .. ':facts:r', ...)
end)

-- Puts records where they are asked for, but not into the log: what nodes know is brought back after all was lost.
define('fact-fill', 2, FACT_BATCH + 1, function(prefix, now, epoch, ...)
  local records = { ... }
  local refusal = fact_epoch(fact_meta(prefix), epoch) or fact_check(records)
  if refusal then return refusal end
  for _, record in ipairs(records) do
    redis.call('HSETNX', prefix .. ':facts:' .. string.sub(record, 1, 1), string.sub(record, 2, 9), record)
  end
  return #records
end)

-- As the leader: drops revocations that were over at the second `over`, and keys that were deleted before the version
-- `deleted` (microseconds), from some places behind `cursor` on. Answers with the next cursor.
define('fact-sweep', 5, 5, function(prefix, now, node, epoch, kind, cursor, bound)
  local refusal = fenced(prefix, now, node, epoch)
  if refusal then return refusal end
  bound = tonumber(bound)
  local key = prefix .. ':facts:' .. (kind == 'k' and 'k' or 'r')
  local found = redis.call('HSCAN', key, cursor, 'COUNT', 200)
  for i = 1, #found[2], 2 do
    local record = found[2][i + 1]
    local first, second = struct.unpack('>I4I4', record, 10)
    local is_over = second <= bound
    if kind == 'k' then is_over = string.byte(record, 18) == 2 and first * 4294967296 + second < bound end
    if is_over then redis.call('HDEL', key, found[2][i]) end
  end
  return found[1]
end)

-- Says that a node has everything up to a number of an epoch.
define('fact-at', 3, 3, function(prefix, now, node, epoch, seq)
  redis.call('HSET', prefix .. ':facts:at', node, epoch .. ' ' .. seq .. ' ' .. whole(now))
  return 1
end)

-- What nodes have said of themselves in the last minute: node and `epoch seq` of each.
define('fact-positions', 0, 0, function(prefix, now)
  local all, answer = redis.call('HGETALL', prefix .. ':facts:at'), {}
  for i = 1, #all, 2 do
    local at, told = string.match(all[i + 1], '^(%d+ %d+) (%d+)$')
    if at and now - tonumber(told) < 60000000 then
      answer[#answer + 1] = all[i]
      answer[#answer + 1] = at
    else
      redis.call('HDEL', prefix .. ':facts:at', all[i])
    end
  end
  return answer
end)

-- Makes a manifest the newest snapshot, if every chunk that it names is there (the chunks, by their digests, follow it). As the
-- leader, or as anybody where there is no snapshot at all: whoever finds the store empty may know more than the leader.
-- Chunks that neither it nor the one before needs are dropped.
define('fact-snapshot', 4, FACT_CHUNKS + 4, function(prefix, now, node, epoch, digest, manifest, ...)
  local refusal = fact_meta(prefix).snapshot ~= '' and fenced(prefix, now, node, epoch)
  if refusal then return refusal end
  local chunks, key = { ... }, prefix .. ':facts:chunks'
  for _, chunk in ipairs(chunks) do
    if redis.call('HEXISTS', key, chunk) == 0 then return refuse('MISSING', chunk) end
  end
  local wanted = {}
  for _, chunk in ipairs(chunks) do wanted[chunk] = true end
  local before = redis.call('GET', prefix .. ':facts:chunks:used')
  for chunk in string.gmatch(before or '', '%x+') do wanted[chunk] = true end
  for _, chunk in ipairs(redis.call('HKEYS', key)) do
    if not wanted[chunk] then redis.call('HDEL', key, chunk) end
  end
  redis.call('SET', prefix .. ':facts:chunks:used', table.concat(chunks, ' '))
  redis.call('SET', prefix .. ':facts:manifest', manifest)
  redis.call('HSET', prefix .. ':facts:meta', 'snapshot', digest)
  return 1
end)
