-- home: fleet
-- Enter an agent, or a new process of one that is known.
-- KEYS[1]  the fleet's root
-- ARGV     agent id, scope ('*' shared, or its workspace), session, lane, concurrency, owner (who may register
--          it again), takeover (1: a live process gives way, 0: it is refused), heartbeat timeout ms, then the record's
--          fields and values, flat
-- Returns  {'created' | 'replaced', record flat} or {'alive', record flat} or {'foreign'}; a repeat with the same session
--          answers 'replaced'
local id, scope, session, lane, owner = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local known = redis.call('HMGET', K.agent(id), 'session', 'owner', 'scope')
local outcome = known[1] and 'replaced' or 'created'
if known[1] then
  if known[3] ~= scope or known[2] ~= owner then return {'foreign'} end
  local beat = redis.call('ZSCORE', K.beats(), id)
  local alive = beat and tonumber(beat) > NOW - tonumber(ARGV[8])
  if alive and ARGV[7] == '0' and known[1] ~= session then return {'alive', redis.call('HGETALL', K.agent(id))} end
end
local fields = {}
for n = 9, #ARGV do fields[#fields + 1] = ARGV[n] end
redis.call('HSET', K.agent(id), unpack(fields))
redis.call('HSET', K.agent(id), 'session', session, 'owner', owner, 'scope', scope, 'lane', lane,
  'concurrency', ARGV[5], 'registered_at', NOW, 'last_heartbeat', NOW, 'running', '[]', 'drain', '0', 'stuck', '0')
redis.call('ZADD', K.agents(scope), 0, id)
redis.call('ZADD', K.beats(), NOW, id)
redis.call('ZREM', K.offline(), id)
recount(id, lane, '1', slots_of(id))
return {outcome, redis.call('HGETALL', K.agent(id))}
