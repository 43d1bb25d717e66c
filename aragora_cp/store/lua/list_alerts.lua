-- home: fleet
-- Incidents that are open, by rule.
-- KEYS[1]  the fleet's root
-- ARGV     workspace whose alerts are wanted ('*' everybody's), then rules
-- Returns  {hash flat …}
local found = {}
for n = 2, #ARGV do
  for _, id in ipairs(redis.call('ZRANGE', K.open_alerts(ARGV[n]), 0, -1)) do
    if ARGV[1] == '*' or redis.call('HGET', K.alert(id), 'workspace') == ARGV[1] then
      found[#found + 1] = redis.call('HGETALL', K.alert(id))
    end
  end
end
return found
