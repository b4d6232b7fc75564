-- Lets a dead job wait again. ARGV: id, its lower-case form, digest or '-', its entry among the dead, record.
-- Returns 1 done, 0 if it is there no more.
local id, lower, sha, place, record = unpack(ARGV)
local found = redis.call('XRANGE', dead, place, place)[1]
if not found or redis.call('HGET', dead_at, id) ~= place then return 0 end
local entry = redis.call('XADD', stream, '*', 'job', field(found, 'job'))
redis.call('HSET', records, entry, record)
own(lower, id, sha, entry, 'open')
redis.call('SREM', cancel, id)
redis.call('XDEL', dead, place)
redis.call('HDEL', dead_at, id)
return 1
