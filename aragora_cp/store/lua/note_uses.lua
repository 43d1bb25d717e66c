-- home: fleet
-- When tokens were used last. A token that is gone stays gone.
-- KEYS[1]  the fleet's root
-- ARGV     token id and ms, for each
-- Returns  how many were noted
local noted = 0
for n = 1, #ARGV, 2 do
  local known = redis.call('HMGET', K.token(ARGV[n]), 'digest', 'last_used_at')
  if known[1] and (tonumber(known[2] or '') or 0) < tonumber(ARGV[n + 1]) then
    redis.call('HSET', K.token(ARGV[n]), 'last_used_at', ARGV[n + 1])
    noted = noted + 1
  end
end
return noted
