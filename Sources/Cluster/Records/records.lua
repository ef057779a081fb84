-- Records: small values that policies leave for each other, on whatever node. One that passes is a key of its own with an
-- end, `record:<purpose>:<name>`; those that last are fields of one hash for each purpose, `shelf:<purpose>`.
--
-- Each verb is one step, so that of two who take or swap the same record one succeeds.

local RECORD_BYTES, SHELF_PAGE = 4096, 100

local function record_key(prefix, name) return prefix .. ':record:' .. name end

local function shelf_key(prefix, purpose) return prefix .. ':shelf:' .. purpose end

-- Sets a record for `ttl` milliseconds; with `absent` only where there is none. Answers whether it did.
define('record-put', 4, 4, function(prefix, now, name, value, ttl, absent)
  if #value > RECORD_BYTES then return refuse('MALFORMED', 'the value is too long') end
  local key = record_key(prefix, name)
  if absent == '1' and redis.call('EXISTS', key) == 1 then return 0 end
  redis.call('SET', key, value, 'PX', ttl)
  return 1
end)

-- The value of a record; nothing where there is none.
define('record-get', 1, 1, function(prefix, now, name) return redis.call('GET', record_key(prefix, name)) end)

-- The same, and there is none any more.
define('record-take', 1, 1, function(prefix, now, name)
  local key = record_key(prefix, name)
  local value = redis.call('GET', key)
  if value then redis.call('DEL', key) end
  return value
end)

-- Replaces exactly what is expected, and leaves its end as it is. Answers whether it did.
define('record-swap', 3, 3, function(prefix, now, name, expected, value)
  if #value > RECORD_BYTES then return refuse('MALFORMED', 'the value is too long') end
  local key = record_key(prefix, name)
  local left = redis.call('PTTL', key)
  if left <= 0 or redis.call('GET', key) ~= expected then return 0 end
  redis.call('SET', key, value, 'PX', whole(left))
  return 1
end)

-- Puts something on a shelf that is not there and has room for it. Answers whether it did.
define('shelf-add', 4, 4, function(prefix, now, purpose, name, value, most)
  local key = shelf_key(prefix, purpose)
  if #value > RECORD_BYTES then return refuse('MALFORMED', 'the value is too long') end
  if redis.call('HEXISTS', key, name) == 1 then return 0 end
  if redis.call('HLEN', key) >= tonumber(most) then return refuse('FULL', 'there are too many') end
  redis.call('HSET', key, name, value)
  return 1
end)

-- What stands on a shelf under a name; nothing where there is none.
define('shelf-get', 2, 2, function(prefix, now, purpose, name)
  return redis.call('HGET', shelf_key(prefix, purpose), name)
end)

-- Replaces exactly what is expected; with an empty value it is taken away. Answers whether it did.
define('shelf-swap', 4, 4, function(prefix, now, purpose, name, expected, value)
  local key = shelf_key(prefix, purpose)
  if #value > RECORD_BYTES then return refuse('MALFORMED', 'the value is too long') end
  if redis.call('HGET', key, name) ~= expected then return 0 end
  if value == '' then redis.call('HDEL', key, name) else redis.call('HSET', key, name, value) end
  return 1
end)

-- Some of a shelf behind `cursor`: the next cursor, then name and value of each.
define('shelf-list', 2, 2, function(prefix, now, purpose, cursor)
  local found = redis.call('HSCAN', shelf_key(prefix, purpose), cursor, 'COUNT', SHELF_PAGE)
  local answer = { found[1] }
  for _, item in ipairs(found[2]) do answer[#answer + 1] = item end
  return answer
end)
