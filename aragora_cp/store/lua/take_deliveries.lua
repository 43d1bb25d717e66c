-- home: fleet
-- Take what is due for delivery. It is due again when its lease runs out: whoever took it may have died.
-- The end of an incident waits until its beginning has been delivered to the same sink, or given up.
-- KEYS[1]  the fleet's root
-- ARGV     most, lease ms, ms after which one to a sink that nobody reaches is dropped, then the sinks that the caller can reach
-- Returns  {now, {{id, sink, kind, incident, body, attempts, created} …}}
local found, mine = {}, {}
for n = 4, #ARGV do mine[ARGV[n]] = true end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.deliveries(), '-inf', NOW, 'LIMIT', 0, 10 * ARGV[1])) do
  local d = redis.call('HMGET', K.delivery(id), 'sink', 'kind', 'incident', 'body', 'created')
  if not d[1] or (not mine[d[1]] and NOW - tonumber(d[5]) > tonumber(ARGV[3])) then
    redis.call('ZREM', K.deliveries(), id)
    redis.call('DEL', K.delivery(id))
  elseif not mine[d[1]] then
    redis.call('ZADD', K.deliveries(), NOW + 5000, id)
  elseif #found < tonumber(ARGV[1]) then
    local first = d[1] .. '|' .. d[3] .. '|firing'
    if d[2] == 'resolved' and redis.call('ZSCORE', K.deliveries(), first) then
      redis.call('ZADD', K.deliveries(), NOW + 500, id)
    else
      redis.call('ZADD', K.deliveries(), NOW + tonumber(ARGV[2]), id)
      local attempts = redis.call('HINCRBY', K.delivery(id), 'attempts', 1)
      found[#found + 1] = {id, d[1], d[2], d[3], d[4], attempts, tonumber(d[5])}
    end
  end
end
return {NOW, found}
