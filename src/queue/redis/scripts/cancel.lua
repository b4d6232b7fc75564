-- Marks a job that is open as to be cancelled. ARGV: id, its lower-case form. Returns 1 marked, 0 if it has
-- ended.
local id, lower = unpack(ARGV)
local known, _, _, state = owner(lower)
if known == id and state ~= 'open' then return 0 end
redis.call('SADD', cancel, id)
return 1
