-- Revisions: which configuration is in force. Bodies lie under their SHA-256 and never change; the head names one of them, is
-- signed, and replaces the head before it. Any node proposes; the leader takes proposals in order, and only it publishes.
-- What a head or a proposal says is for nodes to read and to verify: here they are bytes with a number.
--
--   head       revision, epoch, and the bytes of the head that is in force
--   history    the last heads by revision, behind the time at which they were published; with them go the bodies that no head names any more
--   bodies     for each body that a head names: the newest such revision, and its length
--   proposals  a queue of what leaders have to decide; what became of one is kept for a while
--   acks       what each node says of the newest revision, by the node's name

local MOST_HEADS, MOST_BODY_BYTES, MOST_PROPOSALS, MOST_ACKS = 1000, 268435456, 16, 1024
-- Milliseconds: how long a body waits for its head, and how long it is known what became of a proposal.
local PROPOSED_LIFE, OUTCOME_LIFE = 600000, 120000

local function head_of(prefix)
  local head = redis.call('HMGET', prefix .. ':head', 'revision', 'epoch', 'bytes')
  return tonumber(head[1] or 0), tonumber(head[2] or 0), head[3] or ''
end

-- Forgets the oldest heads and bodies beyond the bounds, never those of the head in force.
local function prune_heads(prefix, newest, body)
  local history, bodies = prefix .. ':history', prefix .. ':bodies'
  local oldest = tonumber(redis.call('HGET', prefix .. ':head', 'oldest') or newest)
  local used, total = {}, 0
  local all = redis.call('HGETALL', bodies)
  for i = 1, #all, 2 do
    local revision, length = string.match(all[i + 1], '^(%d+) (%d+)$')
    total = total + tonumber(length)
    used[#used + 1] = { name = all[i], revision = tonumber(revision), length = tonumber(length) }
  end
  while redis.call('HLEN', history) > MOST_HEADS and oldest < newest do
    redis.call('HDEL', history, whole(oldest))
    oldest = oldest + 1
  end
  redis.call('HSET', prefix .. ':head', 'oldest', whole(oldest))
  table.sort(used, function(a, b) return a.revision < b.revision end)
  for _, entry in ipairs(used) do
    if entry.name ~= body and (entry.revision < oldest or total > MOST_BODY_BYTES) then
      redis.call('DEL', prefix .. ':body:' .. entry.name)
      redis.call('HDEL', bodies, entry.name)
      total = total - entry.length
    end
  end
end

-- Makes these bytes the head, and tells all nodes.
local function save_head(prefix, now, revision, epoch, bytes, body)
  local key = prefix .. ':body:' .. body
  redis.call('PERSIST', key)
  redis.call('HSET', prefix .. ':head', 'revision', whole(revision), 'epoch', whole(epoch), 'bytes', bytes)
  redis.call('HSET', prefix .. ':history', whole(revision), whole(now) .. ' ' .. bytes)
  redis.call('HSET', prefix .. ':bodies', body, whole(revision) .. ' ' .. whole(redis.call('STRLEN', key)))
  prune_heads(prefix, revision, body)
  publish(prefix, 'head', bytes)
end

local function settle_proposal(prefix, id, proposal, outcome)
  if id == '' then return end
  redis.call('LREM', prefix .. ':proposals', 1, proposal)
  redis.call('SET', prefix .. ':outcome:' .. id, outcome, 'PX', whole(OUTCOME_LIFE))
  publish(prefix, 'outcome', id .. ' ' .. outcome)
end

-- The head in force: revision, epoch, bytes; and the next proposal, if there is one.
define('head', 0, 0, function(prefix)
  local revision, epoch, bytes = head_of(prefix)
  return { whole(revision), whole(epoch), bytes, redis.call('LINDEX', prefix .. ':proposals', 0) or '' }
end)

-- Keeps a body until a head names it.
define('store_body', 2, 2, function(prefix, now, body, bytes)
  local key = prefix .. ':body:' .. body
  if redis.call('EXISTS', key) == 1 and redis.call('PTTL', key) < 0 then return 0 end
  redis.call('SET', key, bytes, 'PX', whole(PROPOSED_LIFE))
  return 1
end)

-- Has the leader decide about `proposal`, which wants to follow revision `base` (nothing: whatever there is) with `body`.
-- Asked again under the same id, it is the same one.
define('propose', 4, 4, function(prefix, now, id, base, body, proposal)
  local outcome = redis.call('GET', prefix .. ':outcome:' .. id)
  if outcome then return outcome end
  local queue = prefix .. ':proposals'
  for _, waiting in ipairs(redis.call('LRANGE', queue, 0, -1)) do
    if waiting == proposal then return 'waiting' end
  end
  local revision = head_of(prefix)
  if base ~= '' and tonumber(base) ~= revision then return 'conflict ' .. whole(revision) end
  if redis.call('EXISTS', prefix .. ':body:' .. body) == 0 then return refuse('MISSING', 'the body is not there') end
  if redis.call('LLEN', queue) >= MOST_PROPOSALS then return refuse('FULL', 'too many proposals wait') end
  redis.call('RPUSH', queue, proposal)
  publish(prefix, 'proposal', id)
  return 'waiting'
end)

-- What became of a proposal: as `propose` answers.
define('outcome', 1, 1, function(prefix, now, id)
  return redis.call('GET', prefix .. ':outcome:' .. id) or 'waiting'
end)

-- As the leader: lets a head follow revision `base`, in answer to a proposal or of its own accord (`id` empty).
define('publish', 8, 8, function(prefix, now, node, epoch, base, revision, bytes, body, id, proposal)
  local refusal = fenced(prefix, now, node, epoch)
  if refusal then return refusal end
  local present = head_of(prefix)
  if present ~= tonumber(base) then return refuse('CONFLICT', 'revision ' .. whole(present) .. ' is in force') end
  if redis.call('EXISTS', prefix .. ':body:' .. body) == 0 then return refuse('MISSING', 'the body is not there') end
  save_head(prefix, now, tonumber(revision), tonumber(epoch), bytes, body)
  settle_proposal(prefix, id, proposal, 'published ' .. revision)
  return revision
end)

-- As the leader: does not do what is proposed.
define('dismiss', 5, 5, function(prefix, now, node, epoch, id, proposal, outcome)
  local refusal = fenced(prefix, now, node, epoch)
  if refusal then return refusal end
  settle_proposal(prefix, id, proposal, outcome)
  return 'OK'
end)

-- Brings back a head that a failover, or an emptied store, has lost: any node may that was shown it, as long as nobody
-- has published under a later epoch.
define('restore', 4, 4, function(prefix, now, revision, epoch, bytes, body)
  local present, present_epoch = head_of(prefix)
  if present >= tonumber(revision) then return 'known' end
  if present > 0 and present_epoch > tonumber(epoch) then return 'outdone' end
  if redis.call('EXISTS', prefix .. ':body:' .. body) == 0 then return refuse('MISSING', 'the body is not there') end
  save_head(prefix, now, tonumber(revision), tonumber(epoch), bytes, body)
  return 'restored'
end)

-- Says what a node does with a revision: `state` is `active`, `staged` (others have it first) or `refused`. Refusals are told to
-- all nodes, and that one is over: the leader goes by them. Whoever wants to know the rest asks; a message to each of many
-- nodes from each of them would be most of what a revision costs.
define('ack', 4, 4, function(prefix, now, node, revision, state, reason)
  local key = prefix .. ':acks'
  if redis.call('HEXISTS', key, node) == 0 and redis.call('HLEN', key) >= MOST_ACKS then redis.call('DEL', key) end
  local text = revision .. ' ' .. whole(now) .. ' ' .. state .. ' ' .. string.sub(reason, 1, 1000)
  local before = redis.call('HGET', key, node) or ''
  redis.call('HSET', key, node, text)
  if state == 'refused' or string.find(before, '^%d+ %d+ refused ') then publish(prefix, 'ack', node .. ' ' .. text) end
  return whole(now)
end)

-- Heads from revision `newest` (0: the one in force) downwards, `count` of them, with their times; behind them names and texts
-- of all acks.
define('heads', 2, 2, function(prefix, now, newest, count)
  local revision = head_of(prefix)
  newest = tonumber(newest)
  if newest <= 0 or newest > revision then newest = revision end
  local heads, oldest = {}, tonumber(redis.call('HGET', prefix .. ':head', 'oldest') or 0)
  while newest > 0 and newest >= oldest and #heads < tonumber(count) do
    local bytes = redis.call('HGET', prefix .. ':history', whole(newest))
    if bytes then heads[#heads + 1] = bytes end
    newest = newest - 1
  end
  return { heads, redis.call('HGETALL', prefix .. ':acks') }
end)

told[#told + 1] = function(prefix, now, answer)
  answer[#answer + 1] = 'head'
  answer[#answer + 1] = whole((head_of(prefix)))
  answer[#answer + 1] = 'proposals'
  answer[#answer + 1] = whole(redis.call('LLEN', prefix .. ':proposals'))
end
