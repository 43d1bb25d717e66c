-- home: fleet
-- What became of a delivery.
-- KEYS[1]  the fleet's root
-- ARGV     id, outcome (done, again, dead), ms until the next try, reason, how many dead ones are kept, ms that they are
-- Returns  1, or 0 when it was settled already
local id, outcome = ARGV[1], ARGV[2]
if not redis.call('ZSCORE', K.deliveries(), id) then return 0 end
if outcome == 'again' then
  redis.call('HSET', K.delivery(id), 'reason', ARGV[4])
  redis.call('ZADD', K.deliveries(), NOW + tonumber(ARGV[3]), id)
  return 1
end
redis.call('ZREM', K.deliveries(), id)
if outcome == 'done' then
  redis.call('DEL', K.delivery(id))
  return 1
end
redis.call('HSET', K.delivery(id), 'reason', ARGV[4])
redis.call('PEXPIRE', K.delivery(id), ARGV[6])
redis.call('ZADD', K.dead_deliveries(), NOW, id)
for _, old in ipairs(redis.call('ZRANGE', K.dead_deliveries(), 0, -1 - tonumber(ARGV[5]))) do
  redis.call('ZREM', K.dead_deliveries(), old)
  redis.call('DEL', K.delivery(old))
end
return 1
