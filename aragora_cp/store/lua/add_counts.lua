-- home: fleet
-- Add figures to the fleet's, once: told again under the same id, they are added already.
-- KEYS[1]  the fleet's root
-- ARGV     id of these figures, ms that it is remembered, then field and count for each
-- Returns  1 when they were added, else 0
if not redis.call('SET', K.counted(ARGV[1]), 1, 'NX', 'PX', ARGV[2]) then return 0 end
for n = 3, #ARGV, 2 do redis.call('HINCRBY', K.metrics(), ARGV[n], ARGV[n + 1]) end
return 1
