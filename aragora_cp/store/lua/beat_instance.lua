-- home: fleet
-- A process that is no agent says how it is; or, with nothing to say, goodbye. Those that were silent for long go.
-- KEYS[1]  the fleet's root
-- ARGV     its id, JSON of what it says ('' goodbye), ms that it is kept for
-- Returns  1
local id, told, keep = ARGV[1], ARGV[2], tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', K.instances(), '-inf', NOW - keep)
if told == '' then
  redis.call('DEL', K.instance(id))
  redis.call('ZREM', K.instances(), id)
else
  redis.call('SET', K.instance(id), told, 'PX', keep)
  redis.call('ZADD', K.instances(), NOW, id)
end
return 1
