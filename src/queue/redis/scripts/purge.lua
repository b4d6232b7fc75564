-- Forgets jobs that ended well. ARGV: those up to this time in ms. Returns how many, at most 500 at a time.
local old = redis.call('ZRANGEBYSCORE', done_at, '-inf', ARGV[1], 'LIMIT', 0, 500)
for _, id in ipairs(old) do
  redis.call('HDEL', done, id)
  redis.call('ZREM', done_at, id)
  local known, _, _, state = owner(string.lower(id))
  if known == id and state == 'done' then redis.call('HDEL', ids, string.lower(id)) end
end
return #old
