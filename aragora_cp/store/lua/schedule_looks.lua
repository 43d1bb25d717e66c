-- home: fleet
-- Note when the monitor looks at each workspace next, unless someone has asked for an earlier look meanwhile; and what
-- it counted over all of them.
-- KEYS[1]  the fleet's root
-- ARGV     load JSON ('' keeps), then workspace, score it was given, next score (0: next tick, -1: it is gone)
-- Returns  how many were noted
local noted = 0
if ARGV[1] ~= '' then redis.call('SET', K.lanes_load(), ARGV[1], 'PX', 10000) end
for n = 2, #ARGV, 3 do
  if tonumber(redis.call('ZSCORE', K.active(), ARGV[n]) or '-1') == tonumber(ARGV[n + 1]) then
    if ARGV[n + 2] == '-1' then
      redis.call('ZREM', K.active(), ARGV[n])
    else
      redis.call('ZADD', K.active(), ARGV[n + 2] == '0' and NOW or ARGV[n + 2], ARGV[n])
    end
    noted = noted + 1
  end
end
return noted
