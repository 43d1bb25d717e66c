-- home: fleet
-- Let an agent take no new work (drain 1), or take work again (0).
-- KEYS[1]  the fleet's root
-- ARGV     agent id, drain (1/0)
-- Returns  {'ok', record flat} or {'unknown'}
local id = ARGV[1]
local known = redis.call('HMGET', K.agent(id), 'counted_lane', 'drain', 'scope')
local lane = known[1]
if not lane then return {'unknown'} end
audit(CALLED_BY ~= '' and CALLED_BY or 'agent:' .. id, ARGV[2] == '1' and 'agent.drain' or 'agent.resume', id, 'accepted', CALLED_AS,
  {drain = known[2] == '1'}, {drain = ARGV[2] == '1', workspace = known[3]})
redis.call('HSET', K.agent(id), 'drain', ARGV[2])
if lane ~= '' then recount(id, lane, '1', slots_of(id)) end
return {'ok', redis.call('HGETALL', K.agent(id))}
