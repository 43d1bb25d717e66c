-- home: workspace
-- Destroy the workspace's keys: what was encrypted under them is gone with them.
-- KEYS[1]  the workspace's root
-- ARGV     none
-- Returns  how many keys there were
local count = math.max(0, redis.call('HLEN', K.keys()) - 2)  -- less the name of the current one, and the digests'
if count == 0 then return 0 end
audit(CALLED_BY, 'keys.destroy', '', 'accepted', CALLED_AS, {keys = count}, {keys = 0})
redis.call('DEL', K.keys())
return count
