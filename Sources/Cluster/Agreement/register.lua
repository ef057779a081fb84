
local function run(keys, args)
  local verb = verbs[args[1]]
  if not verb then return refuse('UNKNOWN', 'there is no such verb') end
  if #args - 1 < verb.least or #args - 1 > verb.most then
    return refuse('MALFORMED', 'so many arguments are not for ' .. args[1])
  end
  return verb.run(keys[1], wall(), unpack(args, 2))
end

if redis.register_function then
  redis.register_function('gwcl_NAME', run)
else
  return run(KEYS, ARGV)
end
