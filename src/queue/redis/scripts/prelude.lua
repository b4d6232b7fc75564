-- What every script begins with: the keys of one queue, and who holds what.
local stream, done, done_at, dead, dead_at, outbox, due, sending, records, fence, passed, running, ids, cancel, list =
  unpack(KEYS)
local group = 'ourvidz'

-- Holder, milliseconds since its last sign of life, and count of an entry that is held; nil if it waits.
local function holder(entry)
  local found = redis.call('XPENDING', stream, group, entry, entry, 1)[1]
  if found then return found[2], tonumber(found[3]), tonumber(found[4]) end
end

-- Whether this very claim still stands: a later one has another count.
local function is_held(entry, consumer, count)
  local who, _, n = holder(entry)
  return who == consumer and n == tonumber(count)
end

-- Consumers that are known to be dead, from ARGV[first] on.
local function gone_from(first)
  local gone = {}
  for i = first, #ARGV do gone[ARGV[i]] = true end
  return gone
end

local function field(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
  return ''
end

local function read(entry)
  return redis.call('XRANGE', stream, entry, entry)[1]
end

local function forget(entry)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
  for _, key in ipairs({records, fence, passed, running}) do redis.call('HDEL', key, entry) end
end

-- Who has an id, however it is written: id, digest, entry, state; nil if nobody has.
local function owner(lower)
  local known = redis.call('HGET', ids, lower)
  if not known then return nil end
  local id, sha, entry, state = string.match(known, '^(%S+) (%S+) (%S+) (%S+)$')
  -- Somebody removed the entry by hand.
  if state == 'open' and not read(entry) then return nil end
  return id, sha, entry, state
end

local function own(lower, id, sha, entry, state)
  redis.call('HSET', ids, lower, id .. ' ' .. sha .. ' ' .. entry .. ' ' .. state)
end
