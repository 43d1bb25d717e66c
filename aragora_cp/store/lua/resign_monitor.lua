-- home: fleet
-- The leader stops on purpose: another one need not wait for its lease to end.
-- KEYS[1]  the fleet's root
-- ARGV     this monitor's token
-- Returns  1 when it was the leader
if redis.call('GET', K.leader()) ~= ARGV[1] then return 0 end
return redis.call('DEL', K.leader())
