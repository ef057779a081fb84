-- The audit log: lines that nodes write and sign, each of which holds the digest of the one before it. Here they only get
-- their order: a line is taken if whoever wrote it knew the last one, so that there is one chain and no fork in it.

local MOST_AUDIT_LINES, MOST_AUDIT_BYTES = 10000, 65536

local function audit_head(prefix)
  local head = redis.call('HMGET', prefix .. ':audit:head', 'sequence', 'digest')
  return head[1] or '0', head[2] or ''
end

-- Adds `line`, whose digest is `fresh`, behind the line with this number and digest. Answers with number and digest of the
-- last line, which is the new one exactly if it was taken.
define('audit', 4, 4, function(prefix, now, sequence, digest, line, fresh)
  local last, known = audit_head(prefix)
  if #line > MOST_AUDIT_BYTES then return refuse('MALFORMED', 'the line is too long') end
  if last ~= sequence or known ~= digest then return { last, known } end
  last = whole(tonumber(sequence) + 1)
  redis.call('XADD', prefix .. ':audit:log', 'MAXLEN', '~', MOST_AUDIT_LINES, last .. '-0', 'line', line)
  redis.call('HSET', prefix .. ':audit:head', 'sequence', last, 'digest', fresh)
  publish(prefix, 'audit', last)
  return { last, fresh }
end)

told[#told + 1] = function(prefix, now, answer)
  local last = audit_head(prefix)
  answer[#answer + 1] = 'audit'
  answer[#answer + 1] = last
end
