-- home: fleet
-- Keep the leader's report, with its time.
-- KEYS[1]  the fleet's root
-- ARGV     epoch of the calling leader, the report (JSON)
-- Returns  1, or 0: another monitor leads
if tonumber(redis.call('GET', K.epoch()) or '0') ~= tonumber(ARGV[1]) then return 0 end
redis.call('SET', K.health(), NOW .. ' ' .. ARGV[2])
return 1
