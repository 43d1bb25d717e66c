-- home: workspace
-- Put encrypted values in the place of others, each only while the other still stands there. Nothing else changes.
-- KEYS[1]  the workspace's root
-- ARGV     task ('' the workspace's keys), attempt that its record must have, then field, old value, new value for each
-- Returns  how many were put there
local key = ARGV[1] == '' and K.keys() or K.task(ARGV[1])
if ARGV[1] ~= '' and redis.call('HGET', key, 'attempt') ~= ARGV[2] then return 0 end
if ARGV[1] == '' then audit(CALLED_BY, 'keys.rewrap', '', 'accepted', CALLED_AS) end
local count = 0
for n = 3, #ARGV, 3 do
  if redis.call('HGET', key, ARGV[n]) == ARGV[n + 1] then
    redis.call('HSET', key, ARGV[n], ARGV[n + 2])
    count = count + 1
  end
end
return count
