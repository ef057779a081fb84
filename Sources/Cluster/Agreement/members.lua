-- The members: what each node last said of itself, in the hash `members`, and the list of those that live, which the leader
-- publishes with a number that grows whenever it changes. Routers tell of themselves there too, so that people see them; with
-- a mark before their id, and never on the list.
--
-- Lives go by a time of their own, which passes only while somebody gives a sign of life, and by a little at a time: nobody
-- is missed because Redis stood still or its clock was set. What must hold even then (the shares of limits) does not go by
-- this list but by the beats of the other library.

local MEMBER = '<dd'
-- Microseconds: the life of a sign of life, the most that passes between two, and when a record is of no interest any more.
local LIFE, STEP, FORGOTTEN = 5000000, 1250000, 3600000000
local MOST_MEMBERS, MOST_BYTES = 1024, 16384
local ROUTER = 'router:'

-- The members' time: now, after `moment` of Redis's clock.
local function pulse(prefix, moment)
  local last, age = moment, 0
  local text = redis.call('GET', prefix .. ':pulse')
  if text then last, age = struct.unpack(MEMBER, text) end
  local passed = moment - last
  if passed > 0 then age = age + (passed < STEP and passed or STEP) end
  if passed ~= 0 or not text then redis.call('SET', prefix .. ':pulse', struct.pack(MEMBER, moment, age)) end
  return age
end

-- All records: for each its node, the age of the last sign of life, and the record itself; sorted by node.
local function survey(prefix, age)
  local all, found = redis.call('HGETALL', prefix .. ':members'), {}
  for i = 1, #all, 2 do
    local _, born = struct.unpack(MEMBER, all[i + 1])
    found[#found + 1] = { node = all[i], age = age - born, record = string.sub(all[i + 1], 17) }
  end
  table.sort(found, function(a, b) return a.node < b.node end)
  return found
end

local function list_of(prefix)
  local list = redis.call('HMGET', prefix .. ':list', 'generation', 'nodes')
  return tonumber(list[1] or 0), list[2] or ''
end

-- Says that `node` lives, and what there is to say of it (`record`, a JSON object), with `news` if routers should know at
-- once. Answers with names and values of what a node must know to be up to date.
define('tell', 2, 3, function(prefix, now, node, record, news)
  local key = prefix .. ':members'
  if #record > MOST_BYTES then return refuse('MALFORMED', 'the record is too long') end
  local is_new = redis.call('HEXISTS', key, node) == 0
  if is_new and redis.call('HLEN', key) >= MOST_MEMBERS then return refuse('FULL', 'there are too many members') end
  local age = pulse(prefix, now)
  redis.call('HSET', key, node, struct.pack(MEMBER, now, age) .. record)
  if is_new or news then publish(prefix, 'member', node) end
  local generation = list_of(prefix)
  local answer = { 'now', whole(now), 'list', whole(generation) }
  for _, tell in ipairs(told) do tell(prefix, now, answer) end
  return answer
end)

-- Says that `node` goes.
define('leave', 1, 1, function(prefix, now, node)
  local gone = redis.call('HDEL', prefix .. ':members', node)
  if gone > 0 then publish(prefix, 'member', node) end
  return gone
end)

-- As the leader: publishes who lives where that has changed, and drops what nobody remembers. `seen` is the highest number
-- of a list that the node knows: a failover may have lost it. Answers with the number of the list.
define('list', 3, 3, function(prefix, now, node, epoch, seen)
  local refusal = fenced(prefix, now, node, epoch)
  if refusal then return refusal end
  local generation, before = list_of(prefix)
  local alive = {}
  for _, member in ipairs(survey(prefix, pulse(prefix, now))) do
    if member.age > FORGOTTEN then
      redis.call('HDEL', prefix .. ':members', member.node)
    elseif member.age <= LIFE and string.sub(member.node, 1, #ROUTER) ~= ROUTER then
      alive[#alive + 1] = member.node
    end
  end
  local nodes = table.concat(alive, ' ')
  seen = tonumber(seen)
  if nodes ~= before or generation == 0 or generation < seen then
    generation = (generation > seen and generation or seen) + 1
    redis.call('HSET', prefix .. ':list', 'generation', whole(generation), 'nodes', nodes, 'epoch', epoch)
    publish(prefix, 'list', whole(generation))
  end
  return whole(generation)
end)

-- Everything about the members: the list's number and nodes, then for each record its node, its age in microseconds, and
-- itself.
define('roster', 0, 0, function(prefix, now)
  local generation, nodes = list_of(prefix)
  local answer = { whole(generation), nodes }
  for _, member in ipairs(survey(prefix, pulse(prefix, now))) do
    answer[#answer + 1] = member.node
    answer[#answer + 1] = whole(member.age > 0 and member.age or 0)
    answer[#answer + 1] = member.record
  end
  return answer
end)
