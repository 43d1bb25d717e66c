-- home: fleet
-- Which workspaces the monitor should look at now, and what the fleet looks like.
-- KEYS[1]  the fleet's root
-- ARGV     most workspaces
-- Returns  {{workspace, score} flat, lanes flat, slots flat, now}
return {
  redis.call('ZRANGEBYSCORE', K.active(), '-inf', NOW, 'WITHSCORES', 'LIMIT', 0, ARGV[1]),
  redis.call('HGETALL', K.lanes()), redis.call('HGETALL', K.slots()), NOW,
}
