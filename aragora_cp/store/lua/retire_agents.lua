-- home: fleet
-- Mark agents offline whose last heartbeat is too old, and forget those that have been offline for long.
-- KEYS[1]  the fleet's root
-- ARGV     epoch of the calling leader, heartbeat timeout ms, forget after ms, most agents a call
-- Returns  {ids marked offline} or 'deposed'
if tonumber(redis.call('GET', K.epoch()) or '0') ~= tonumber(ARGV[1]) then return 'deposed' end
local most = tonumber(ARGV[4])
local marked = redis.call('ZRANGEBYSCORE', K.beats(), '-inf', '(' .. (NOW - tonumber(ARGV[2])), 'LIMIT', 0, most)
for _, id in ipairs(marked) do
  audit('monitor', 'agent.lose', id, 'accepted', '', nil,
    {status = 'OFFLINE', workspace = redis.call('HGET', K.agent(id), 'scope')})
  redis.call('ZREM', K.beats(), id)
  redis.call('ZADD', K.offline(), NOW, id)
  lose_calls(id)
  redis.call('ZADD', K.lost(), NOW, id)
  recount(id, '', '0', 0)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.offline(), '-inf', NOW - tonumber(ARGV[3]), 'LIMIT', 0, most)) do
  redis.call('ZREM', K.offline(), id)
  redis.call('ZREM', K.lost(), id)
  redis.call('ZREM', K.agents(redis.call('HGET', K.agent(id), 'scope')), id)
  redis.call('DEL', K.agent(id), K.calls(id))
end
return marked
