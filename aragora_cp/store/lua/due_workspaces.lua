-- home: fleet
-- Which workspaces the monitor should look at now, longest unseen first, and what the fleet looks like. Each gets this
-- look's time as its score: whoever asks for a look while this one is under way changes it (see schedule_looks).
-- KEYS[1]  the fleet's root
-- ARGV     most workspaces
-- Returns  {{workspace, score} flat, lanes flat, slots flat, now}
local rows = {}
for _, workspace in ipairs(redis.call('ZRANGEBYSCORE', K.active(), '-inf', NOW, 'LIMIT', 0, ARGV[1])) do
  redis.call('ZADD', K.active(), NOW, workspace)
  rows[#rows + 1] = workspace
  rows[#rows + 1] = tostring(NOW)
end
return {rows, redis.call('HGETALL', K.lanes()), redis.call('HGETALL', K.slots()), NOW}
