-- Moves list items into the stream, the oldest first, then tells what waits.
-- ARGV: end of the list with the oldest item, lease in ms, most entries, most bytes of a job, after which
-- entry ('-' for all), dead consumers.
-- Returns: last entry ever added, ms since the quietest holder's sign of life, then of each waiting entry:
-- id, job, times passed, record.
local oldest, lease, most, bytes, from = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local gone = gone_from(6)
local at, pop = -1, 'RPOP'
if oldest == 'left' then at, pop = 0, 'LPOP' end
for _ = 1, 500 do
  local item = redis.call('LINDEX', list, at)
  if not item then break end
  -- Added before it is taken: should the memory be full, nothing is lost.
  redis.call('XADD', stream, '*', 'job', item)
  redis.call(pop, list)
end

local held, quietest = {}, -1
for _, entry in ipairs(redis.call('XPENDING', stream, group, '-', '+', 10000)) do
  local idle = tonumber(entry[3])
  if not gone[entry[2]] and idle <= lease then
    held[entry[1]] = true
    quietest = math.max(quietest, idle)
  end
end

local last = '0-0'
local info = redis.call('XINFO', 'STREAM', stream)
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end

local found, count = {last, tostring(quietest)}, 0
while count < most do
  local part = redis.call('XRANGE', stream, from, '+', 'COUNT', 100)
  for _, entry in ipairs(part) do
    if not held[entry[1]] and count < most then
      count = count + 1
      found[#found + 1] = entry[1]
      found[#found + 1] = string.sub(field(entry, 'job'), 1, bytes)
      found[#found + 1] = redis.call('HGET', passed, entry[1]) or '0'
      found[#found + 1] = redis.call('HGET', records, entry[1]) or ''
    end
  end
  if #part < 100 then break end
  from = '(' .. part[#part][1]
end
return found
