-- home: trail
-- Remove whole segments whose entries are all too old, oldest first. The last of their seals stays: what follows is
-- chained to it. The trail itself tells of it, so that entries which are gone for another reason are missed.
-- KEYS[1]  the trail's root
-- ARGV     ms of the oldest entry that begins it, ms before which entries go, most entries, most segments
-- Returns  how many entries were removed
local oldest = redis.call('XRANGE', K.audit(), '-', '+', 'COUNT', 1)[1]
if not oldest or ms_of(oldest[1]) >= tonumber(ARGV[1]) then return 0 end
local anchor, count = nil, 0
for _, seal in ipairs(redis.call('XRANGE', K.seals(), '-', '+', 'COUNT', ARGV[4])) do
  if ms_of(field_of(seal, 'last')) >= tonumber(ARGV[2]) or (anchor and count >= tonumber(ARGV[3])) then break end
  anchor, count = seal, count + tonumber(field_of(seal, 'count'))
end
local last = anchor and field_of(anchor, 'last')
if not anchor or #redis.call('XRANGE', K.audit(), '-', last, 'COUNT', 1) == 0 then return 0 end
local ms, n = string.match(last, '^(%d+)-(%d+)$')
audit('monitor', 'audit.trim', tostring(number_of(anchor)), 'accepted', '', nil, {last = last})
redis.call('XTRIM', K.seals(), 'MINID', anchor[1])
return redis.call('XTRIM', K.audit(), 'MINID', ms .. '-' .. string.format('%d', n + 1))
