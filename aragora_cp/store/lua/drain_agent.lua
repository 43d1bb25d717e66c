-- home: fleet
-- Let an agent take no new work (drain 1), or take work again (0).
-- KEYS[1]  the fleet's root
-- ARGV     agent id, drain (1/0)
-- Returns  {'ok', record flat} or {'unknown'}
local id = ARGV[1]
local lane = redis.call('HGET', K.agent(id), 'counted_lane')
if not lane then return {'unknown'} end
redis.call('HSET', K.agent(id), 'drain', ARGV[2])
if lane ~= '' then recount(id, lane, '1', slots_of(id)) end
return {'ok', redis.call('HGETALL', K.agent(id))}
