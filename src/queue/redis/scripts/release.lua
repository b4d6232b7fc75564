-- Lets an entry wait again, in its old place. ARGV: entry, consumer, count, record. Returns 0 lost, 1 done.
local entry, consumer, count, record = unpack(ARGV)
if not is_held(entry, consumer, count) then return 0 end
redis.call('HSET', records, entry, record)
redis.call('HDEL', running, entry)
redis.call('XACK', stream, group, entry)
return 1
