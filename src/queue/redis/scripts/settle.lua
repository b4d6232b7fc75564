-- Ends a job: callback, record and entry in one step.
-- ARGV: entry, consumer, count, 'done' or 'dead', id, its lower-case form, digest or '-', record, '1' for a
-- conflict's second, end in ms, id of the callback ('' for none), callback, when it is due in ms.
-- Returns 0 lost, 1 done.
local entry, consumer, count, kind, id, lower, sha, record, conflict, ended, webhook, envelope, at = unpack(ARGV)
if not is_held(entry, consumer, count) then
  -- Stored already, and the answer got lost.
  if kind == 'done' and redis.call('HGET', done, id) == record then return 1 end
  if kind == 'dead' then
    for _, other in ipairs(redis.call('XREVRANGE', dead, '+', '-', 'COUNT', 100)) do
      if field(other, 'record') == record then return 1 end
    end
  end
  return 0
end
if webhook ~= '' and redis.call('HSETNX', outbox, webhook, envelope) == 1 then
  redis.call('ZADD', due, at, webhook)
end
if kind == 'done' then
  redis.call('HSET', done, id, record)
  redis.call('ZADD', done_at, ended, id)
  own(lower, id, sha, entry, 'done')
else
  local name = id
  if conflict == '1' then
    local n = 1
    repeat
      name = id .. '.conflict-' .. n
      n = n + 1
    until redis.call('HEXISTS', dead_at, name) == 0
  else
    own(lower, id, sha, entry, 'dead')
  end
  local place = redis.call('XADD', dead, '*', 'name', name, 'job', field(read(entry), 'job'), 'record', record)
  redis.call('HSET', dead_at, name, place)
end
if conflict ~= '1' then redis.call('SREM', cancel, id) end
forget(entry)
return 1
