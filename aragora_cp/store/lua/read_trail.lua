-- home: trail
-- A part of a trail as it is exported: whole segments, oldest first; after the last one, what is not sealed.
-- KEYS[1]  the trail's root
-- ARGV     number of the seal to go on after ('' from the beginning), entries after which a part ends, most seals,
--          most entries that are not sealed
-- Returns  {{{entries, seal} …}, unsealed entries, 1 when this is the end, the newest seal's number that there ever was,
--          the newest entry's id that there ever was, entries so far by the last seal}, entries and seals as
--          {id, fields flat}; or {'trimmed'}: the seal to go on after is gone
local function newest_id(key)
  if redis.call('EXISTS', key) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', key)
  for n = 1, #info, 2 do
    if info[n] == 'last-generated-id' then return info[n + 1] end
  end
end

local start, from = '-', '-'
if ARGV[1] ~= '' then
  local before = redis.call('XRANGE', K.seals(), ARGV[1] .. '-0', ARGV[1] .. '-0')[1]
  if not before then return {'trimmed'} end
  start, from = '(' .. before[1], '(' .. field_of(before, 'last')
end
local segments, count = {}, 0
local seals = redis.call('XRANGE', K.seals(), start, '+', 'COUNT', ARGV[3])
for _, seal in ipairs(seals) do
  if count >= tonumber(ARGV[2]) then break end
  local last = field_of(seal, 'last')
  local entries = redis.call('XRANGE', K.audit(), from, last)
  segments[#segments + 1] = {entries, seal}
  count, from = count + #entries, '(' .. last
end
local head = redis.call('XREVRANGE', K.seals(), '+', '-', 'COUNT', 1)[1]
local done = #segments == #seals and (#seals == 0 or seals[#seals][1] == head[1])
return {segments, done and redis.call('XRANGE', K.audit(), from, '+', 'COUNT', ARGV[4]) or {}, done and 1 or 0,
  newest_id(K.seals()), newest_id(K.audit()), head and field_of(head, 'total') or '0'}
