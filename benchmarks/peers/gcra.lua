-- What gateways that ask Redis about every request run there: one key, one rate. KEYS: the counter. ARGV: microseconds for a
-- unit, and how many of them may be ahead. Answers whether it is admitted, what is left, and the seconds until all is.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local unit, ahead = tonumber(ARGV[1]), tonumber(ARGV[2])
local next = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + unit
if next - now > ahead then return {0, 0, math.ceil((next - unit - now) / 1000000)} end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
return {1, math.floor((ahead - (next - now)) / unit), math.ceil((next - now) / 1000000)}
