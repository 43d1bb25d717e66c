-- home: fleet
-- Enter an agent, or a new process of one that is known.
-- KEYS[1]  the fleet's root
-- ARGV     agent id, scope ('*' shared, or its workspace), session, lane, concurrency, owner (who may register
--          it again), takeover (1: a live process gives way, 0: it is refused), heartbeat timeout ms, most agents of the
--          scope that are not offline ('' any number), then the record's fields and values, flat
-- Returns  {'created' | 'replaced', record flat} or {'alive', record flat} or {'foreign'} or {'quota', limit, used}; a
--          repeat with the same session answers 'replaced'
local id, scope, session, lane, owner = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local known = redis.call('HMGET', K.agent(id), 'session', 'owner', 'scope')
local outcome = known[1] and 'replaced' or 'created'
local function refused(why)
  refuse(CALLED_BY ~= '' and CALLED_BY or owner, 'agent.register', id, why, CALLED_AS, {workspace = scope})
end
if known[1] then
  if known[3] ~= scope or known[2] ~= owner then
    refused('conflict')
    return {'foreign'}
  end
  local beat = redis.call('ZSCORE', K.beats(), id)
  local alive = beat and tonumber(beat) > NOW - tonumber(ARGV[8])
  if alive and ARGV[7] == '0' and known[1] ~= session then
    refused('alive')
    return {'alive', redis.call('HGETALL', K.agent(id))}
  end
end
local limit = tonumber(ARGV[9])
if limit and not redis.call('ZSCORE', K.beats(), id) then
  local used = 0
  for _, other in ipairs(redis.call('ZRANGE', K.agents(scope), 0, -1)) do
    if redis.call('ZSCORE', K.beats(), other) then used = used + 1 end
  end
  if used >= limit then
    refused('quota-exceeded')
    return {'quota', limit, used}
  end
end
if known[1] ~= session then
  audit(CALLED_BY ~= '' and CALLED_BY or owner, 'agent.register', id, 'accepted', CALLED_AS, nil,
    {workspace = scope, lane = lane, concurrency = tonumber(ARGV[5]), status = outcome})
end
-- What the process before it had in hand is lost. Its breaker stays as it is: starting again cures nothing.
if known[1] and known[1] ~= session then lose_calls(id) end
redis.call('HSET', K.agent(id), unpack(ARGV, 10))
redis.call('HSET', K.agent(id), 'session', session, 'owner', owner, 'scope', scope, 'lane', lane,
  'concurrency', ARGV[5], 'registered_at', NOW, 'last_heartbeat', NOW, 'running', '[]', 'drain', '0', 'stuck', '0')
redis.call('ZADD', K.agents(scope), 0, id)
redis.call('ZADD', K.beats(), NOW, id)
redis.call('ZREM', K.offline(), id)
redis.call('ZREM', K.lost(), id)
recount(id, lane, '1', slots_of(id))
return {outcome, redis.call('HGETALL', K.agent(id))}
