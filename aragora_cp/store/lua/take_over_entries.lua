-- home: workspace
-- The platform's trail tells of this workspace's tokens and agents, whose records lie with the fleet's: its own trail tells
-- of it too, once, whatever monitor takes it over how often.
-- KEYS[1]  the workspace's root
-- ARGV     then for each entry, oldest first: its id in the platform's trail, how many fields and values follow, those
-- Returns  how many were taken over; 0 when there is no such workspace (any more)
if redis.call('EXISTS', K.workspace()) == 0 then return 0 end
local function place(id)
  local ms, n = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(n)
end
local ms, n = place(redis.call('GET', K.taken_over()) or '0-0')
local at, count, newest = 1, 0, nil
while at <= #ARGV do
  local entry_ms, entry_n = place(ARGV[at])
  local fields = tonumber(ARGV[at + 1])
  if entry_ms > ms or entry_ms == ms and entry_n > n then
    redis.call('XADD', K.audit(), '*', unpack(ARGV, at + 2, at + 1 + fields))
    count, newest = count + 1, ARGV[at]
  end
  at = at + 2 + fields
end
if newest then redis.call('SET', K.taken_over(), newest) end
return count
