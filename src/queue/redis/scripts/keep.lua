-- Renews a claim and stores its record ('' for as it is) and what its worker does ('' likewise).
-- ARGV: entry, consumer, count, id, record, running. Returns 0 lost, 1 held, 2 held and to be cancelled.
local entry, consumer, count, id, record, doing = unpack(ARGV)
if not is_held(entry, consumer, count) then return 0 end
if record ~= '' then redis.call('HSET', records, entry, record) end
if doing ~= '' then redis.call('HSET', running, entry, doing) end
redis.call('XCLAIM', stream, group, consumer, 0, entry, 'RETRYCOUNT', count, 'JUSTID')
return 1 + redis.call('SISMEMBER', cancel, id)
