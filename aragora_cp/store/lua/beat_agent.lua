-- home: fleet
-- One heartbeat of an agent's process. Cost does not grow with the number of agents.
-- KEYS[1]  the fleet's root
-- ARGV     agent id, session, running task ids JSON, completed since the last beat, failed since
-- Returns  'ok', 'drain', 'stale' (another session has registered) or 'unknown'
local id = ARGV[1]
local known = redis.call('HMGET', K.agent(id), 'session', 'drain', 'lane')
if not known[1] then return 'unknown' end
if known[1] ~= ARGV[2] then return 'stale' end
redis.call('ZADD', K.beats(), NOW, id)
redis.call('HSET', K.agent(id), 'last_heartbeat', NOW, 'running', ARGV[3])
if ARGV[4] ~= '0' then redis.call('HINCRBY', K.agent(id), 'completed', ARGV[4]) end
if ARGV[5] ~= '0' then redis.call('HINCRBY', K.agent(id), 'failed', ARGV[5]) end
if redis.call('ZREM', K.offline(), id) == 1 then
  -- It was taken for dead, wrongly: its lane may have gone since.
  redis.call('HSET', K.lanes(), known[3], redis.call('HGET', K.agent(id), 'lane_json'))
  recount(id, known[3], '1', slots_of(id))
  redis.call('HSET', K.lanes(), known[3], redis.call('HGET', K.agent(id), 'lane_json'))
end
return known[2] == '1' and 'drain' or 'ok'
