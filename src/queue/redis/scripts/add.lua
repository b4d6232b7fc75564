-- Adds a job. ARGV: id, its lower-case form, digest, job.
-- Returns 'new', or 'same' or 'other' with the id that is there, its state and '1' if it is held.
local id, lower, sha, job = unpack(ARGV)
local known, known_sha, entry, state = owner(lower)
if known then
  local same = known == id and known_sha == sha
  return {same and 'same' or 'other', known, state, (state == 'open' and holder(entry)) and '1' or '0'}
end
own(lower, id, sha, redis.call('XADD', stream, '*', 'job', job), 'open')
return {'new'}
