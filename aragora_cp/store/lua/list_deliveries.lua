-- home: fleet
-- Deliveries that wait, or those that were given up, newest first.
-- KEYS[1]  the fleet's root
-- ARGV     'waiting' or 'dead', most
-- Returns  {{sink, kind, incident, attempts, created, reason} …}
local found, index = {}, ARGV[1] == 'dead' and K.dead_deliveries() or K.deliveries()
for _, id in ipairs(redis.call('ZREVRANGE', index, 0, tonumber(ARGV[2]) - 1)) do
  local d = redis.call('HMGET', K.delivery(id), 'sink', 'kind', 'incident', 'attempts', 'created', 'reason')
  if d[1] then
    d[6] = d[6] or ''
    found[#found + 1] = d
  end
end
return found
