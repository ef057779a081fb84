-- The decision library: what Redis does for the limits that a whole cluster keeps. One source for both ways to run it: as
-- a Redis Function (7.0 and newer; the line `#!lua name=gwrl_1` is put before it) and as a script (EVALSHA).
--
-- A lane is a slice of all counters that lies in one slot of a Redis Cluster. Its counters are fields of hashes, one hash
-- for each class (kind and period) and period index. One call decides a whole batch: every item passes on all of its
-- levels or takes nothing. Only Redis's clock counts, and it never goes back (`clock`). LaneBatch+Wire.swift lists what
-- the arguments and the answers are.
--
-- How it stays fast: redis.call costs a microsecond, so there are two for each class and none for an item; numbers come
-- and go as packed doubles, all with one call of struct; what differs between kinds happens while loading and saving, so
-- that the decision itself is the same for all: value + cost <= top.
--
-- All numbers are whole and below 2^53, so that sums, products and remainders are exact; a product beyond that is always
-- more than any room there is.

local GENERATION, WINDOW, SLIDING, CALENDAR = 1, 2, 3, 4
local ALL_OR_NOTHING, LEASE, DEBT, CREDIT, SOLE_LEASE = 1, 2, 3, 4, 5
local LARGEST, LARGEST_COUNT, LARGEST_STEP = 9007199254740992, 4503599627370496, 4294967295
-- Microseconds that a hash outlives its window by at the most.
local GRACE = 60000000
-- Seconds: whoever asked for a lease so long ago still wants more, or may still hold some of it. And how many are noted.
local WANTING, HOLDING, CROWD = 10, 2, 64
-- Seconds for which a node that nobody else asks beside may hold tokens.
local SOLE_HOLDING = 60
-- The lane's own record: replication id, lane time and wall clock when it last changed something, end of the gate, epoch,
-- members that must merge; then eight bytes of name for each that has.
local RECORD, RECORD_BYTES = '<c40ddddd', 80
-- A sliding window's counter: the number of its newest step, and ten sums, that of step n at n modulo ten.
local RING = '<dI4I4I4I4I4I4I4I4I4I4'

local pack, parse, spread, char, concat, sub, rep
local NOTHING, EMPTY_RING
local doubles, names12, references, words = {}, {}, {}, {}
local texts = { [8] = {}, [16] = {}, [48] = {} }

-- At the first call: while a Function is loaded, most of these do not exist.
local function prepare()
  pack, parse, spread = struct.pack, struct.unpack, unpack
  char, concat, sub, rep = string.char, table.concat, string.sub, string.rep
  NOTHING, EMPTY_RING = rep('\0', 8), rep('\0', 48)
end

-- The format of `count` times `one`, remembered in `known`.
local function times(known, one, count)
  local format = known[count]
  if not format then
    format = '<' .. rep(one, count)
    known[count] = format
  end
  return format
end

-- Microseconds since 1970. (Tests replace this line by a clock that they set.)
local function wall() local time = redis.call('TIME') return time[1] * 1000000 + time[2] end

-- Time goes on with the wall clock; but where that was set back, or a new primary's is behind, at half speed until it has
-- been caught up.
local function advance(now, raw, last)
  if raw > last then
    local passed = raw - last
    now = now + (passed - passed % 2) / 2
  end
  return raw > now and raw or now
end

-- The lane's time. Also the wall clock itself and the record's parts; no `id` in a lane that nobody opened.
local function clock(key)
  local raw = wall()
  local record = redis.call('GET', key)
  if not record then return raw, raw end
  local id, now, last, gate, epoch, members = parse(RECORD, record)
  now = advance(now, raw, last)
  return now, raw, id, gate, epoch, members, record
end

local function remember(key, now, raw) redis.call('SETRANGE', key, '40', pack('<dd', now, raw)) end

local function milliseconds(moment) return string.format('%.0f', (moment - moment % 1000) / 1000 + 1) end

-- Writes fields and values, and sees to the end of the hash if it is new.
local function store(key, changes, expiry)
  local added = redis.call('HSET', key, spread(changes))
  if added > 0 and redis.call('HLEN', key) == added then redis.call('PEXPIREAT', key, milliseconds(expiry)) end
end

-- Finds the hashes of `class` among its `keys` from `at` on. False where the caller has guessed the time wrongly. A merge
-- means the very period that it names, of windows and calendars, unless that is over.
local function locate(class, guess, now, keys, at, merges)
  local kind, period = class.kind, class.period
  if kind == CALENDAR then
    -- Here the period is its start and the guess its end.
    class.key, class.start, class.stop, class.expiry, class.keys = keys[at], period, guess, guess + GRACE, 1
    class.is_over = now >= guess
    return merges or period <= now and now < guess
  end
  local index = (now - now % period) / period
  local ahead = index - guess
  if kind == WINDOW and merges then
    class.is_over = ahead > 0
    index, ahead = guess, 0
  end
  class.start, class.stop, class.keys, class.ahead = index * period, (index + 1) * period, 3, ahead
  class.key, class.before = keys[at + 1 + ahead], keys[at + ahead]
  if kind == WINDOW then
    class.expiry = class.stop + (period < GRACE and period or GRACE)
    return ahead >= -1 and ahead <= 1
  end
  -- A value written in one period matters until the end of the next and no longer: its makers see to that.
  class.expiry = class.stop + period
  return ahead >= 0 and ahead <= 1
end

-- Reads the fields of a class, and from the hash before what is not in the current one.
local function read(class, fields)
  local from, count = class.from, class.count
  local values = redis.call('HMGET', class.key, spread(fields, from, from + count - 1))
  local names, places, total = nil, nil, 0
  for i = 1, count do
    if not values[i] then
      if total == 0 then names, places = {}, {} end
      total = total + 1
      names[total] = fields[from + i - 1]
      places[total] = i
    end
  end
  if total > 0 and class.kind ~= WINDOW and class.kind ~= CALENDAR then
    local found = redis.call('HMGET', class.before, spread(names))
    for i = 1, total do
      if found[i] then
        class.moved = class.moved or {}
        class.moved[places[i]] = true
        values[places[i]] = found[i]
      end
    end
  end
  local nothing = class.kind == SLIDING and EMPTY_RING or NOTHING
  for i = 1, total do values[places[i]] = values[places[i]] or nothing end
  return values
end

-- Rates: the moment when the bucket would be full again, in units since the start of the generation.
local function load_rates(class, batch)
  local from, count, floor, value, was = class.from, class.count, class.floor, batch.value, batch.was
  local numbers = {parse(times(doubles, 'd', count), concat(read(class, batch.fields)))}
  if class.moved then
    for i in pairs(class.moved) do numbers[i] = numbers[i] - class.period * class.scale end
  end
  from = from - 1
  for i = 1, count do
    local number = numbers[i]
    if number < floor then number = floor end
    value[from + i] = number
    was[from + i] = number
  end
end

-- Windows and calendar periods: what was taken; behind it what was given back, where anything was. Both only grow.
local function load_counts(class, batch)
  local from, count, value, was = class.from - 1, class.count, batch.value, batch.was
  local values = read(class, batch.fields)
  local all = concat(values)
  if #all == count * 8 then
    local numbers = {parse(times(doubles, 'd', count), all)}
    for i = 1, count do
      value[from + i] = numbers[i]
      was[from + i] = numbers[i]
    end
    return
  end
  batch.has_returns = true
  for i = 1, count do
    local taken = parse('<d', values[i])
    if #values[i] > 8 then
      local back = parse('<d', values[i], 9)
      batch.returned[from + i] = back
      taken = taken - back
    end
    value[from + i] = taken
    was[from + i] = taken
  end
end

-- Sliding windows: the value is the sum of the running step and the nine before it.
local function load_rings(class, batch)
  local from, now = class.from - 1, batch.now
  local values = read(class, batch.fields)
  for i = 1, class.count do
    local ring, step, sum = {parse(RING, values[i])}, batch.steps[from + i], 0
    local newest, oldest = ring[1], (now - now % step) / step - 9
    for q = 0, 9 do
      if newest - (newest - q) % 10 >= oldest then sum = sum + ring[q + 2] end
    end
    batch.rings[from + i] = ring
    batch.value[from + i] = sum
    batch.was[from + i] = sum
  end
end

-- Adds what was taken to the ring's running step.
local function turn(ring, step, now, taken)
  if taken <= 0 then return end
  local running = (now - now % step) / step
  if running < ring[1] then running = ring[1] end
  for number = running - ring[1] > 10 and running - 9 or ring[1] + 1, running do ring[number % 10 + 2] = 0 end
  ring[1] = running
  ring[running % 10 + 2] = ring[running % 10 + 2] + taken
end

-- The values of a class as they are kept, one behind the other, and how long each is.
local function encode(class, batch)
  local value, from, count = batch.value, class.from, class.count
  if class.kind == SLIDING then
    local all = {}
    for i = 1, count do
      local place = from + i - 1
      turn(batch.rings[place], batch.steps[place], batch.now, value[place] - batch.was[place])
      all[i] = pack(RING, spread(batch.rings[place], 1, 11))
    end
    return concat(all), 48
  end
  if class.kind ~= GENERATION and batch.has_returns then
    local both = {}
    for i = 1, count do
      local back = batch.returned[from + i - 1] or 0
      both[2 * i - 1] = value[from + i - 1] + back
      both[2 * i] = back
    end
    return pack(times(doubles, 'd', 2 * count), spread(both)), 16
  end
  return pack(times(doubles, 'd', count), spread(value, from, from + count - 1)), 8
end

-- Writes what has changed. What came from the hash before is taken out there, so that nothing is kept twice. Returns all
-- values for the answer, and whether anything was written.
local function save(class, batch)
  local value, was, dirty, fields = batch.value, batch.was, batch.dirty, batch.fields
  local from, count, moved = class.from, class.count, class.moved
  local place, last = from, from + count - 1
  while place <= last and value[place] == was[place] and not dirty[place] do place = place + 1 end
  local all, width = encode(class, batch)
  if place > last then return all, false end
  local values = {parse(times(texts[width], 'c' .. width, count), all)}
  local changes, total, gone = {}, 0, nil
  for place = place, last do
    if value[place] ~= was[place] or dirty[place] then
      local text = values[place - from + 1]
      if width == 16 and not batch.returned[place] then text = sub(text, 1, 8) end
      changes[total + 1] = fields[place]
      changes[total + 2] = text
      total = total + 2
      if moved and moved[place - from + 1] then
        gone = gone or {}
        gone[#gone + 1] = fields[place]
      end
    end
  end
  store(class.key, changes, class.expiry)
  -- Behind the write: a server out of memory refuses before anything has changed.
  if gone then redis.call('HDEL', class.before, spread(gone)) end
  return all, true
end

-- Those beside `node` who lately asked for tokens of one counter: how many, whether some may still hold any, their notes,
-- and whether some are of another machine: the loops of one have names that differ in their first two bytes only.
local function crowd(text, node, second)
  local notes, holds, has_strangers = {}, false, false
  for at = 1, text and #text or 0, 12 do
    local name, when = parse('<c8I4', text, at)
    if name ~= node and when + WANTING >= second and #notes < CROWD then
      notes[#notes + 1] = sub(text, at, at + 11)
      holds = holds or when + HOLDING >= second
      has_strangers = has_strangers or sub(name, 3) ~= sub(node, 3)
    end
  end
  return #notes, holds, concat(notes), has_strangers
end

-- At most half of what is left, by equal shares of all who want some, but one rather than none. A sole lease gets none
-- where other machines want some, and never the last one; its note lies ahead, so that what it holds can be called in.
local function share(batch, policy, place, room, is_sole)
  local key, name = policy.class.key, batch.fields[place] .. 'n'
  local second = (batch.now - batch.now % 1000000) / 1000000
  local others, _, notes, has_strangers = crowd(redis.call('HGET', key, name), batch.node, second)
  if is_sole and has_strangers then return 0 end
  local noted = is_sole and second + SOLE_HOLDING or second
  batch.askers[#batch.askers + 1] = { key, name, notes .. batch.node .. pack('<I4', noted) }
  if room <= 0 then return 0 end
  local parts = 2 * (others + 1)
  room = (room - room % parts) / parts
  return room < 1 and not is_sole and 1 or room
end

-- Takes `hits` times its cost of every level, as often as all of them have room, and says how often.
local function take(batch, group, places, first)
  local value, policies, hits = batch.value, group.policies, group.hits
  local amount, tightest = hits, nil
  local asked = #batch.askers
  for j = 1, #policies do
    local policy, need = policies[j], group.needs[j]
    local room = policy.top - value[places[first + j]]
    room = room < need and 0 or (room - room % need) / need
    if group.mode == LEASE or group.mode == SOLE_LEASE then
      room = share(batch, policy, places[first + j], room, group.mode == SOLE_LEASE)
    end
    if room < amount then amount, tightest = room, j end
  end
  if group.mode == ALL_OR_NOTHING and amount < hits then amount = 0 end
  local j = amount > 0 and 1 or #policies + 1
  while j <= #policies do
    local place = places[first + j]
    value[place] = value[place] + amount * group.needs[j]
    -- A counter that stands twice in an item has been counted on twice.
    if value[place] > policies[j].top then
      for k = 1, j do value[places[first + k]] = value[places[first + k]] - amount * group.needs[k] end
      amount, j = 0, #policies
    end
    j = j + 1
  end
  if amount == 0 then
    for k = asked + 1, #batch.askers do batch.askers[k] = nil end
  end
  if amount < hits and tightest and policies[tightest].leased and group.mode ~= SOLE_LEASE then
    batch.short[#batch.short + 1] = places[first + tightest]
  end
  return amount
end

-- Takes what has been used already, whatever room there is.
local function owe(batch, group, places, first)
  local value = batch.value
  for j = 1, #group.policies do
    local place, most = places[first + j], group.policies[j].class.most
    local number = value[place] + group.hits * group.needs[j]
    if number > most then number = value[place] > most and value[place] or most end
    value[place] = number
  end
  return group.hits
end

-- Gives back what was granted at the moment `granted` and not used.
local function give_back(batch, group, places, first)
  local value = batch.value
  for j = 1, #group.policies do
    local policy, place = group.policies[j], places[first + j]
    local class, units = policy.class, group.hits * group.costs[j]
    local held = value[place]
    if class.kind == GENERATION then
      -- Not what time has given back already: a world in which the tokens were never taken is ahead of this one by
      -- their worth less the time since.
      local worth = group.hits * group.needs[j]
      if worth < LARGEST then
        worth = worth - (batch.now > group.granted and batch.now - group.granted or 0) * class.scale
        if worth > 0 then value[place] = held - worth < class.floor and class.floor or held - worth end
      end
    elseif class.kind == SLIDING then
      local ring, step, taken = batch.rings[place], policy.scale, held - batch.was[place]
      -- What the batch has charged already can be given back, too.
      if taken > 0 then
        turn(ring, step, batch.now, taken)
        batch.was[place], batch.dirty[place] = held, true
      end
      local number = (group.granted - group.granted % step) / step
      local q, running = number % 10 + 2, (batch.now - batch.now % step) / step
      if number <= ring[1] and number >= ring[1] - 9 and number >= running - 9 then
        if units > ring[q] then units = ring[q] end
        ring[q] = ring[q] - units
        value[place], batch.was[place], batch.dirty[place] = held - units, batch.was[place] - units, true
      end
    elseif group.granted >= class.start and group.granted < class.stop then
      if units > held then units = held end
      local back = (batch.returned[place] or 0) + units
      if units > 0 and back <= LARGEST_COUNT then
        value[place], batch.returned[place], batch.dirty[place] = held - units, back, true
        batch.has_returns = true
      end
    end
  end
  return group.hits
end

-- What `apply` and `merge` have in common: the numbers, the fields, and every class with its hashes and values.
local function open(keys, args, now, merges)
  local numbers = {parse(times(doubles, 'd', #args[4] / 8), args[4])}
  local total = #args[5] / 12
  local batch = {
    now = now, node = args[3], numbers = numbers, fields = {parse(times(names12, 'c12', total), args[5])},
    classes = {}, policies = {}, value = {}, was = {}, dirty = {}, returned = {}, rings = {}, steps = {},
    askers = {}, short = {}, at = 3,
  }
  local at, key, from = 3, 2, 1
  for c = 1, numbers[1] do
    local class = { kind = numbers[at], period = numbers[at + 1], scale = numbers[at + 3], from = from }
    if not locate(class, numbers[at + 2], now, keys, key, merges) then return nil end
    class.floor = class.kind == GENERATION and (now - class.start) * class.scale or 0
    if class.kind == GENERATION then
      class.most = class.floor + class.period * class.scale
      if class.most > LARGEST then class.most = LARGEST end
    else
      class.most = class.kind == SLIDING and LARGEST_STEP or LARGEST_COUNT
    end
    key = key + class.keys
    local policies = numbers[at + 4]
    at = at + 5
    for _ = 1, policies do
      local policy = {
        class = class, unit = numbers[at], top = class.floor + numbers[at + 1], scale = numbers[at + 2],
        leased = numbers[at + 3] ~= 0,
      }
      batch.policies[#batch.policies + 1] = policy
      if class.kind == SLIDING then
        for place = from, from + numbers[at + 4] - 1 do batch.steps[place] = policy.scale end
      end
      from = from + numbers[at + 4]
      at = at + 5
    end
    class.count = from - class.from
    batch.classes[c] = class
  end
  batch.at = at
  return batch
end

-- Loads all values of a batch.
local function load(batch)
  for c = 1, #batch.classes do
    local class = batch.classes[c]
    if class.kind == GENERATION then
      load_rates(class, batch)
    elseif class.kind == SLIDING then
      load_rings(class, batch)
    else
      load_counts(class, batch)
    end
  end
end

-- The commonest group: one level, once each. Appends how often each item passed, once or not at all.
local function take_singly(batch, group, places, first, passed, at)
  local value, policy, need = batch.value, group.policies[1], group.needs[1]
  local top, short, consecutive = policy.top, batch.short, group.consecutive
  for i = 1, group.items do
    local place = consecutive and consecutive + i - 1 or places[first + i]
    local number = value[place] + need
    if number <= top then
      value[place] = number
      passed[at + i] = 1
    else
      passed[at + i] = 0
      if policy.leased then short[#short + 1] = place end
    end
  end
end

-- The next commonest: several levels, once each. What was taken before a level refused is given back exactly.
local function take_together(batch, group, places, first, passed, at)
  local value, policies, needs, tops = batch.value, group.policies, group.needs, {}
  local width = #policies
  for j = 1, width do tops[j] = policies[j].top end
  for i = 1, group.items do
    local j = 1
    while j <= width do
      local place = places[first + j]
      local number = value[place] + needs[j]
      if number > tops[j] then break end
      value[place] = number
      j = j + 1
    end
    if j > width then
      passed[at + i] = 1
    else
      passed[at + i] = 0
      if policies[j].leased then batch.short[#batch.short + 1] = places[first + j] end
      for k = 1, j - 1 do value[places[first + k]] = value[places[first + k]] - needs[k] end
    end
    first = first + width
  end
end

-- Decides all groups in their order. Returns how often each item passed, and the most that one asked for.
local function decide(batch, count, places, epoch)
  local numbers, at, first, done, most, passed = batch.numbers, batch.at, 0, 0, 0, {}
  for _ = 1, count do
    local group = { mode = numbers[at], hits = numbers[at + 1], items = numbers[at + 3], policies = {}, costs = {}, needs = {} }
    local width, consecutive = numbers[at + 2], numbers[at + 4]
    at = at + 5
    for j = 1, width do
      local policy, cost = batch.policies[numbers[at]], numbers[at + 1]
      group.policies[j], group.costs[j], group.needs[j] = policy, cost, policy.unit * cost
      at = at + 2
    end
    if group.hits > most then most = group.hits end
    local mode = group.mode
    if consecutive > 0 then group.consecutive = consecutive end
    if group.hits == 1 and mode <= ALL_OR_NOTHING then
      (width == 1 and take_singly or take_together)(batch, group, places, first, passed, done)
    else
      local act = take
      if mode == DEBT then act = owe end
      if mode == CREDIT then
        group.granted = numbers[at]
        act = numbers[at + 1] == epoch and give_back or nil
        at = at + 2
      end
      for i = 0, group.items - 1 do passed[done + i + 1] = act and act(batch, group, places, first + i * width) or 0 end
    end
    if not group.consecutive then first = first + group.items * width end
    done = done + group.items
  end
  return passed, most, done
end

-- The places of counters that refused while other nodes may hold tokens of them.
local function held(batch, second)
  local answer, seen = {}, {}
  for _, place in ipairs(batch.short) do
    if not seen[place] then
      seen[place] = true
      for _, class in ipairs(batch.classes) do
        if place >= class.from and place < class.from + class.count then
          local _, holds = crowd(redis.call('HGET', class.key, batch.fields[place] .. 'n'), batch.node, second)
          if holds then answer[#answer + 1] = pack('<I2', place) end
        end
      end
    end
  end
  return concat(answer)
end

local function apply(keys, args)
  local now, raw, id, gate, epoch = clock(keys[1])
  if id ~= args[2] then return 'R' .. pack('<d', now) .. (id or '') end
  if now < gate then return 'W' .. pack('<dd', now, gate) end
  local batch = open(keys, args, now)
  if not batch then return 'G' .. pack('<d', now) end
  load(batch)
  local count = #args[6] / 2
  local places = {parse(times(references, 'H', count), args[6])}
  local passed, most, items = decide(batch, batch.numbers[2], places, epoch)
  local answer, wrote = {'', ''}, false
  for c = 1, #batch.classes do
    local all, changed = save(batch.classes[c], batch)
    answer[c + 2] = all
    wrote = wrote or changed
  end
  for _, asker in ipairs(batch.askers) do redis.call('HSET', asker[1], asker[2], asker[3]) end
  if wrote then remember(keys[1], now, raw) end
  answer[1] = (batch.has_returns and 'B' or 'A') .. pack('<dd', now, epoch)
  answer[2] = most <= 255 and char(spread(passed, 1, items)) or pack(times(words, 'I4', items), spread(passed, 1, items))
  if #batch.short > 0 then answer[#answer + 1] = held(batch, (now - now % 1000000) / 1000000) end
  return concat(answer)
end

-- A counter is raised to what a node has seen it at: never lowered, so that the order of merges and their number do not
-- matter. Values are in the form of `encode`; those of counts always have both numbers.
local function raise(class, batch, values, at)
  local value, was = batch.value, batch.was
  for i = 1, class.count do
    local place = class.from + i - 1
    if class.kind == GENERATION then
      local seen = parse('<d', values, at) - class.ahead * class.period * class.scale
      at = at + 8
      if seen > class.most then seen = class.most end
      if seen > value[place] then value[place] = seen end
    elseif class.kind == SLIDING then
      local ring, seen = batch.rings[place], {parse(RING, values, at)}
      at = at + 48
      local newest = seen[1] > ring[1] and seen[1] or ring[1]
      for q = 0, 9 do
        local number = newest - (newest - q) % 10
        local ours = ring[1] - (ring[1] - q) % 10 == number and ring[q + 2] or 0
        local theirs = seen[1] - (seen[1] - q) % 10 == number and seen[q + 2] or 0
        if theirs > ours then batch.dirty[place] = true end
        ring[q + 2] = theirs > ours and theirs or ours
      end
      if seen[1] > ring[1] then batch.dirty[place] = true end
      ring[1] = newest
    else
      local taken, back = parse('<dd', values, at)
      at = at + 16
      local had = batch.returned[place] or 0
      local ours = value[place] + had
      if taken < ours then taken = ours end
      if back < had then back = had end
      if taken > ours or back > had then
        if back > 0 then batch.returned[place], batch.has_returns = back, true end
        value[place], batch.dirty[place] = taken - back, true
      end
    end
  end
  return at
end

local function merge(keys, args)
  local now, raw, id, gate, epoch, members, record = clock(keys[1])
  if id ~= args[2] then return 'R' .. pack('<d', now) .. (id or '') end
  local seen = parse('<d', args[6])
  local moves = seen > now
  if moves then now = seen end
  local batch = open(keys, args, now, true)
  if not batch then return 'G' .. pack('<d', now) end
  load(batch)
  local at = 1
  for _, class in ipairs(batch.classes) do
    at = raise(class, batch, args[7], at)
    if not class.is_over and select(2, save(class, batch)) then moves = true end
  end
  local merged = sub(record, RECORD_BYTES + 1)
  if batch.numbers[2] ~= 0 then
    local known = false
    for place = 1, #merged, 8 do known = known or sub(merged, place, place + 7) == args[3] end
    if not known then merged = merged .. args[3] end
    if #merged / 8 >= members then gate = 0 end
    redis.call('SET', keys[1], pack(RECORD, id, now, raw, gate, epoch, members) .. merged)
  elseif moves then
    remember(keys[1], now, raw)
  end
  return 'A' .. pack('<ddd', now, epoch, gate)
end

-- Opens the lane under a new replication id: closes it for decisions until all `members` have merged what they have seen,
-- or the gate opens by itself. Whoever comes second finds it done. Epochs never repeat, even if one was lost.
local function recover(keys, args)
  local now, raw, id, gate, epoch = clock(keys[1])
  local members, length, seen = parse('<ddd', args[4])
  local known = id and 1 or 0
  if id ~= args[2] then
    if seen > now then now = seen end
    local least = (now - now % 1000) / 1000
    epoch = epoch and epoch >= least and epoch + 1 or least
    gate = members > 0 and now + length or 0
    redis.call('SET', keys[1], pack(RECORD, args[2], now, raw, gate, epoch, members))
  end
  return 'A' .. pack('<dddd', now, epoch, gate, known)
end

-- Slots of concurrency limits, on lease: a hash for each limit, and in it for each node how many and until when. A node
-- says how many it wants in sum, so that asking twice does no harm. While it is recovering it takes back what it held.
local function slots(keys, args)
  local now, raw, id, gate, epoch = clock(keys[1])
  if id ~= args[2] then return 'R' .. pack('<d', now) .. (id or '') end
  local numbers, node = {parse(times(doubles, 'd', #args[4] / 8), args[4])}, args[3]
  local ttl, holds = numbers[1], numbers[2] ~= 0
  if now < gate and not holds then return 'W' .. pack('<dd', now, gate) end
  local answer, wrote = {}, false
  for k = 2, #keys do
    local key, limit, want = keys[k], numbers[2 * k - 1], numbers[2 * k]
    local all = redis.call('HGETALL', key)
    local others, nodes, mine, noted, gone, latest = 0, 1, 0, false, {}, now + ttl
    for i = 1, #all, 2 do
      local count, expiry = parse('<dd', all[i + 1])
      if all[i] == node then
        noted = true
        if expiry > now then mine = count end
      elseif expiry > now then
        others, nodes = others + count, nodes + 1
        if expiry > latest then latest = expiry end
      else
        gone[#gone + 1] = all[i]
      end
    end
    local grant = want < mine and want or mine
    local free = limit - others - mine
    if holds then
      grant = want > mine and want or mine
    elseif free < 0 then
      local room = limit > others and limit - others or 0
      if grant > room then grant = room end
    elseif want > mine then
      local more = (free + 2 * nodes - 1 - (free + 2 * nodes - 1) % (2 * nodes)) / (2 * nodes)
      grant = want - mine < more and want or mine + more
    end
    if grant > 0 then
      redis.call('HSET', key, node, pack('<dd', grant, now + ttl))
      redis.call('PEXPIREAT', key, milliseconds(latest))
    elseif noted then
      gone[#gone + 1] = node
    end
    if #gone > 0 and (grant > 0 or noted) then redis.call('HDEL', key, spread(gone)) end
    wrote = wrote or grant > 0 or noted
    answer[2 * k - 3], answer[2 * k - 2] = grant, others
  end
  if wrote then remember(keys[1], now, raw) end
  return 'A' .. pack('<dd', now, epoch) .. pack(times(doubles, 'd', #answer), spread(answer))
end

-- Members: one hash for the cluster, with an entry for each node and one about all of them. A node's share of a limit
-- while Redis is out of reach is limit / count, and one more where its rank is below the remainder, all as it was told
-- last. These must never sum to more than the limit, whoever was told when. The rules, and why they are enough:
--
-- * A joiner is counted at once but waits, with a share of nothing, until every other node acts on a generation that
--   counts it. So all that listed nodes act on counts all of them, and perhaps more; with less counted no share is
--   smaller; and the shares of exactly the listed ones sum to the limit. He waits half a life at least, so that a new
--   primary that is less behind knows of him.
-- * Lives end by a time of their own, which passes only while somebody beats: after Redis stood still nobody is missed
--   before he could beat again. Steps of the clock do not matter either.
-- * Who was silent for nearly a life may have been dropped, although the hash does not say so: a failover may have lost
--   that. He joins anew, but meanwhile uses what he was told before, and no more than he is told now: or nobody would have a
--   share after Redis stood still.
-- * Where the hash is new, or a node was told something that its entry does not know (a failover lost it), everything
--   settles for as long as a life: all keep acting on what they were told before, and say whether that is a share. Then
--   everybody who has one is back or dead, and it goes on from there. What was known before does not count.
local CENSUS, MEMBER = 'all', '<ddddddd'
-- What a node is: it waits, it is listed, it keeps what it was told. The same numbers are what a node says of its share: it
-- has none, it has one, it has one but was silent since. And what it is told of all: they settle.
local WAITING, LISTED, KEEPING, SETTLING = 0, 1, 2, 3

-- What the hash says: its members by node, then time, wall clock, members' time, when it has settled (nil where it is
-- new), generation.
local function census(key, raw)
  local all, members = redis.call('HGETALL', key), {}
  local now, last, age, settled, generation = raw, raw, 0, nil, 0
  for i = 1, #all, 2 do
    local text = all[i + 1]
    if all[i] == CENSUS then
      now, last, age, settled, generation = parse('<ddddd', text)
    else
      local one = {}
      one.expiry, one.born, one.loops, one.since, one.known, one.told, one.state = parse(MEMBER, text)
      members[all[i]] = one
    end
  end
  return members, now, last, age, settled, generation
end

-- Begins to settle: of what nodes say to know, only generations from this one on count.
local function unsettle(members, generation)
  for _, one in pairs(members) do one.since, one.known = generation, 0 end
end

-- Drops the dead, and `leaver`. Returns their names.
local function bury(members, age, leaver)
  local gone = {}
  for name, one in pairs(members) do
    if one.expiry <= age or name == leaver then gone[#gone + 1] = name end
  end
  for _, name in ipairs(gone) do members[name] = nil end
  return gone
end

-- Count, the place of `node` by its number, and the sum of loops; whether all others act on what counts it.
local function muster(members, node)
  local own, low, high = members[node], parse('<I4I4', node)
  local count, rank, loops, agreed = 0, 0, 0, true
  for name, one in pairs(members) do
    local l, h = parse('<I4I4', name)
    count, loops = count + 1, loops + one.loops
    if h < high or h == high and l < low then rank = rank + 1 end
    if own and name ~= node and one.known < own.since then agreed = false end
  end
  return count, rank, loops, agreed
end

local function beat(keys, args)
  local key, node, raw = keys[1], args[3], wall()
  local ttl, known, silent, share, loops, leaves = parse('<dddddd', args[4])
  local members, now, last, age, settled, generation = census(key, raw)
  now = advance(now, raw, last)
  if raw > last then age = age + (raw - last < ttl / 4 and raw - last or ttl / 4) end
  local own = members[node]
  if not settled or known > generation or own and known > own.told then
    generation = (known > generation and known or generation) + 1
    settled = age + ttl
    unsettle(members, generation)
  end
  local gone = bury(members, age, leaves ~= 0 and node)
  own = members[node]
  local joins, returns = not own and leaves == 0, own and silent ~= 0
  if joins or returns or #gone > 0 or own and own.loops ~= loops then generation = generation + 1 end
  if joins then
    own = { born = age, since = generation, known = 0, state = WAITING }
    members[node] = own
  elseif returns then
    own.since = generation
    if own.state == LISTED then own.state = KEEPING end
  end
  local state = WAITING
  if own then
    own.loops = loops
    if known >= own.since and known > own.known then own.known = known end
  end
  local count, rank, sum, agreed = muster(members, node)
  if own then
    if age < settled then own.state = share elseif agreed and age >= own.born + ttl / 2 then own.state = LISTED end
    state = age < settled and SETTLING or own.state
    redis.call('HSET', key, node,
      pack(MEMBER, age + ttl, own.born, loops, own.since, own.known, generation, own.state) .. args[5])
  end
  redis.call('HSET', key, CENSUS, pack('<ddddd', now, raw, age, settled, generation))
  for _, name in ipairs(gone) do
    if not members[name] then redis.call('HDEL', key, name) end
  end
  -- All dead for ten minutes: nothing in it matters then.
  redis.call('PEXPIREAT', key, milliseconds(raw + 10 * GRACE))
  return 'A' .. pack('<dddddd', now, generation, count, rank, sum, state)
end

local verbs = { apply = apply, merge = merge, recover = recover, slots = slots, beat = beat }

local function run(keys, args)
  if not pack then prepare() end
  return verbs[args[1]](keys, args)
end

if redis.register_function then
  redis.register_function('gwrl_1', run)
else
  return run(KEYS, ARGV)
end
