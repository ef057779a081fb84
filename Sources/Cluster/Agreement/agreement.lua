-- What nodes agree on: the library beside that of limits, with which nodes elect a leader, know of each other, and keep
-- what is in force on all of them. One source for both ways to run it: as a Redis Function (7.0 and newer) and as a script.
--
-- All keys begin with one prefix, the one key that is declared: its hash tag keeps them in one slot of a Redis Cluster, so
-- that whoever writes as the leader is checked in the same script that writes. A verb is called with the prefix, the time
-- in microseconds, and its arguments; it answers with a table, a number, a text, or a refusal whose first word is its code.
--
-- Other files of the library add verbs, and to `told` what every node hears with each sign of life that it gives: so what
-- was published and lost is found within a second. Epochs and times are whole and below 2^53.

local verbs, told = {}, {}

-- Microseconds since 1970, once for each call. (Tests replace this line by a clock that they set.)
local function wall() local time = redis.call('TIME') return time[1] * 1000000 + time[2] end

-- A whole number as Redis keeps it.
local function whole(number) return string.format('%.0f', number) end

local function refuse(code, reason) return redis.error_reply(code .. ' ' .. reason) end

-- Adds a verb that takes from `least` to `most` arguments.
local function define(name, least, most, run) verbs[name] = { least = least, most = most, run = run } end

-- Tells all nodes that listen. The channel is the prefix without the braces of its hash tag.
local function publish(prefix, kind, data)
  local channel = string.gsub(prefix, '[{}]', '')
  redis.call('PUBLISH', channel, kind .. ' ' .. data)
end

-- Nil where `node` leads in `epoch` at the moment `now`; otherwise the refusal that its verb answers with.
local function fenced(prefix, now, node, epoch)
  local lead = redis.call('HMGET', prefix .. ':lead', 'owner', 'epoch', 'expires')
  if lead[1] == node and tonumber(lead[2]) == tonumber(epoch) and tonumber(lead[3]) > now then return nil end
  return refuse('FENCED', 'the lease of epoch ' .. epoch .. ' is over')
end
