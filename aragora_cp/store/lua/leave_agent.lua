-- home: fleet
-- An agent's process says goodbye (it stays listed as offline), or an operator removes the agent altogether.
-- KEYS[1]  the fleet's root
-- ARGV     agent id, session ('' any), remove (1/0)
-- Returns  'left', 'stale' or 'unknown'
local id = ARGV[1]
local known = redis.call('HMGET', K.agent(id), 'session', 'scope')
if not known[1] then return 'unknown' end
if ARGV[2] ~= '' and known[1] ~= ARGV[2] then return 'stale' end
audit(CALLED_BY ~= '' and CALLED_BY or 'agent:' .. id, ARGV[3] == '1' and 'agent.remove' or 'agent.leave', id, 'accepted',
  CALLED_AS, nil, {workspace = known[2]})
lose_calls(id)
recount(id, '', '0', 0)
redis.call('ZREM', K.beats(), id)
redis.call('ZREM', K.lost(), id)
if ARGV[3] == '1' then
  redis.call('ZREM', K.offline(), id)
  redis.call('ZREM', K.agents(known[2]), id)
  redis.call('DEL', K.agent(id), K.calls(id))
else
  redis.call('ZADD', K.offline(), NOW, id)
  redis.call('HSET', K.agent(id), 'running', '[]')
end
return 'left'
