-- The leader: whoever holds the lease in the hash `lead`. Its epoch grows with every leader and never falls, also when a
-- failover loses the last one: candidates bring the highest that they have seen, and the clock is a third bound.
--
-- A lease is over when Redis's clock says so, or when a candidate has itself watched one renewal for as long as a lease
-- without another one coming: so nobody waits for a clock that was set back. Neither is what keeps writes safe, the fence is.

local function lead_of(prefix)
  local all = redis.call('HMGET', prefix .. ':lead', 'owner', 'epoch', 'serial', 'expires', 'name', 'since')
  return {
    owner = all[1] or '', epoch = tonumber(all[2] or 0), serial = tonumber(all[3] or 0),
    expires = tonumber(all[4] or 0), name = all[5] or '', since = all[6] or '0',
  }
end

-- What a node is told of the leader: epoch, owner, serial number of the renewal, microseconds left, name, since when.
local function lead_text(lead, now)
  local left = lead.owner ~= '' and lead.expires - now or 0
  return {
    whole(lead.epoch), lead.owner, whole(lead.serial), whole(left > 0 and left or 0), lead.name, lead.since,
  }
end

local function announce(prefix, lead, now)
  local text = lead_text(lead, now)
  publish(prefix, 'lead',
    text[1] .. ' ' .. (lead.owner ~= '' and lead.owner or '-') .. ' ' .. text[3] .. ' ' .. text[4])
end

local function save_lead(prefix, lead, now)
  redis.call('HSET', prefix .. ':lead', 'owner', lead.owner, 'epoch', whole(lead.epoch), 'serial', whole(lead.serial),
    'expires', whole(lead.expires), 'name', lead.name, 'since', lead.since)
  announce(prefix, lead, now)
  return lead_text(lead, now)
end

-- Makes `node` the leader for `ttl` microseconds unless another one is. `seen` and `seen_owner` are the highest epoch that
-- the node knows and whose it is; `waited` is the epoch and serial that it has watched for a lease, or nothing.
define('elect', 6, 6, function(prefix, now, node, name, ttl, seen, seen_owner, waited)
  ttl, seen = tonumber(ttl), tonumber(seen)
  local lead = lead_of(prefix)
  local is_known = lead.epoch > seen or lead.epoch == seen and (seen_owner == '' or lead.owner == seen_owner)
  local is_over = lead.expires <= now or waited == whole(lead.epoch) .. ' ' .. whole(lead.serial)
  if lead.owner ~= '' and lead.owner ~= node and is_known and not is_over then
    if lead.expires > now + ttl then
      lead.expires = now + ttl
      redis.call('HSET', prefix .. ':lead', 'expires', whole(lead.expires))
    end
    return lead_text(lead, now)
  end
  local milliseconds = (now - now % 1000) / 1000
  local least = (lead.epoch > seen and lead.epoch or seen) + 1
  return save_lead(prefix, {
    owner = node, epoch = least > milliseconds and least or milliseconds, serial = 1, expires = now + ttl, name = name,
    since = whole(now),
  }, now)
end)

-- Goes on for `ttl` microseconds from now.
define('renew', 3, 3, function(prefix, now, node, epoch, ttl)
  local refusal = fenced(prefix, now, node, epoch)
  if refusal then return refusal end
  local lead = lead_of(prefix)
  lead.serial, lead.expires = lead.serial + 1, now + tonumber(ttl)
  return save_lead(prefix, lead, now)
end)

-- Gives the lead back; the next one comes forward at once.
define('resign', 2, 2, function(prefix, now, node, epoch)
  local refusal = fenced(prefix, now, node, epoch)
  if refusal then return refusal end
  local lead = lead_of(prefix)
  lead.owner, lead.name, lead.expires, lead.serial = '', '', 0, lead.serial + 1
  return save_lead(prefix, lead, now)
end)

told[#told + 1] = function(prefix, now, answer)
  answer[#answer + 1] = 'lead'
  answer[#answer + 1] = lead_text(lead_of(prefix), now)
end
