-- Takes one entry.
-- ARGV: entry, consumer, lease in ms, id, its lower-case form, digest or '-', window of fairness (0: none),
-- dead consumers.
-- Returns: 'gone' (somebody else was faster), 'unfair' (an older one is due), 'repeat' (the same job again,
-- dropped), or 'job', count, record, id that is in conflict with it, '1' if it is to be cancelled, holder
-- before.
local entry, consumer, lease, id, lower, sha, window =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local gone = gone_from(8)

local function is_free(other)
  local who, idle = holder(other)
  return not who or gone[who] or idle > lease, who
end

if not read(entry) then return {'gone'} end
local free, before = is_free(entry)
if not free then return {'gone'} end

-- The older ones that wait. They are few: as many as fairness allows, and what other queues' kinds hold.
local older, from = {}, '-'
while true do
  local part = redis.call('XRANGE', stream, from, '(' .. entry, 'COUNT', 100)
  for _, other in ipairs(part) do
    if is_free(other[1]) then
      older[#older + 1] = other[1]
      if window > 0 and tonumber(redis.call('HGET', passed, other[1]) or '0') >= window then return {'unfair'} end
    end
  end
  if #part < 100 then break end
  from = '(' .. part[#part][1]
end

local known, known_sha, known_entry = owner(lower)
local conflict = ''
if not known then
  own(lower, id, sha, entry, 'open')
elseif known_entry ~= entry then
  if known == id and known_sha == sha and sha ~= '-' then
    forget(entry)
    return {'repeat'}
  end
  conflict = known
end

for _, other in ipairs(older) do redis.call('HINCRBY', passed, other, 1) end
local count = redis.call('HINCRBY', fence, entry, 1)
redis.call('XCLAIM', stream, group, consumer, 0, entry, 'RETRYCOUNT', count, 'FORCE', 'JUSTID')
return {
  'job', tostring(count), redis.call('HGET', records, entry) or '', conflict,
  tostring(redis.call('SISMEMBER', cancel, id)), before or '',
}
