-- Callbacks on their way. ARGV[1] says what to do:
--   claim, time in ms ('all T' for any time that was not tried at T or later), most, consumer, now in ms, until when in ms, dead consumers → envelopes
--   put, id, envelope, time
--   reschedule, id, envelope, time ('' to try it no more), consumer
--   remove, id
--   release, id, consumer
local what, id = ARGV[1], ARGV[2]

-- Who tries one now, and until when.
local function sender(webhook)
  local who, til = string.match(redis.call('HGET', sending, webhook) or '', '^(.*) (%d+)$')
  return who, tonumber(til)
end

local function put(webhook, envelope, at)
  redis.call('HSET', outbox, webhook, envelope)
  if at == '' then redis.call('ZREM', due, webhook) else redis.call('ZADD', due, at, webhook) end
end

if what == 'claim' then
  local til, most, consumer, now, hold = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6]
  local gone, found = gone_from(7), {}
  local since = tonumber(string.match(til, '^all (%d+)$'))
  if since then til = '+inf' end
  -- Whoever tries all tries each once.
  local function fresh(envelope)
    local tried = since and cjson.decode(envelope).tried_at_ms
    return type(tried) ~= 'number' or tried < since
  end
  for _, webhook in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', til)) do
    if #found == most then break end
    local who, limit = sender(webhook)
    local envelope = redis.call('HGET', outbox, webhook)
    if not envelope then
      redis.call('ZREM', due, webhook)
    elseif (not who or gone[who] or limit < now) and fresh(envelope) then
      redis.call('HSET', sending, webhook, consumer .. ' ' .. hold)
      found[#found + 1] = envelope
    end
  end
  return found
elseif what == 'put' then
  if redis.call('HEXISTS', outbox, id) == 0 then put(id, ARGV[3], ARGV[4]) end
elseif what == 'reschedule' then
  if redis.call('HEXISTS', outbox, id) == 1 and sender(id) == ARGV[5] then
    put(id, ARGV[3], ARGV[4])
    redis.call('HDEL', sending, id)
  end
elseif what == 'remove' then
  redis.call('HDEL', outbox, id)
  redis.call('ZREM', due, id)
  redis.call('HDEL', sending, id)
elseif what == 'release' then
  if sender(id) == ARGV[3] then redis.call('HDEL', sending, id) end
end
return {}
