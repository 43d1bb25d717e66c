-- home: fleet
-- One heartbeat of an agent's process. Cost does not grow with the number of agents.
-- KEYS[1]  the fleet's root
-- ARGV     agent id, session, running task ids JSON, completed since the last beat, failed since,
--          slots that are stuck (their handlers outlived their attempts and cannot be killed)
-- Returns  {'ok' | 'drain', its breaker's state, ms for which it shall take nothing}, or {'stale'} (another session has
--          registered) or {'unknown'}
local id = ARGV[1]
local known = redis.call('HMGET', K.agent(id), 'session', 'drain', 'lane')
if not known[1] then return {'unknown'} end
if known[1] ~= ARGV[2] then return {'stale'} end
redis.call('ZADD', K.beats(), NOW, id)
redis.call('HSET', K.agent(id), 'last_heartbeat', NOW, 'running', ARGV[3])
if ARGV[4] ~= '0' then redis.call('HINCRBY', K.agent(id), 'completed', ARGV[4]) end
if ARGV[5] ~= '0' then redis.call('HINCRBY', K.agent(id), 'failed', ARGV[5]) end
redis.call('HSET', K.agent(id), 'stuck', ARGV[6])
redis.call('ZREM', K.offline(), id)
redis.call('ZREM', K.lost(), id)
-- Also when it was taken for dead, wrongly: its lane may have gone since.
recount(id, known[3], '1', slots_of(id))
local word, r = known[2] == '1' and 'drain' or 'ok', rules_of(id)
if not r then return {word, 'closed', 0} end
see_calls(id, r, cjson.decode(ARGV[3]))
let_in_again(id, r)
recount_online(id)
local found = standing(id, r)
return {word, found.state, found.ms}
