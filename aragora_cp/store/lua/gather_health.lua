-- home: fleet
-- What the leader's report is made of. Its cost grows with what is bounded here, not with the fleet.
-- KEYS[1]  the fleet's root
-- ARGV     ms after which a lost agent is no news any more, most lost agents, most instances
-- Returns  {now, agents online, agents lost, {handle, scope, ms since when, …} of the lost ones, newest first,
--          {id, ms of its last beat, JSON or '', …} of the instances}
local lost, instances = {}, {}
local since = NOW - tonumber(ARGV[1])
local rows = redis.call('ZREVRANGEBYSCORE', K.lost(), '+inf', since, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for n = 1, #rows, 2 do
  lost[#lost + 1] = rows[n]
  lost[#lost + 1] = redis.call('HGET', K.agent(rows[n]), 'scope') or '*'
  lost[#lost + 1] = rows[n + 1]
end
rows = redis.call('ZREVRANGE', K.instances(), 0, tonumber(ARGV[3]) - 1, 'WITHSCORES')
for n = 1, #rows, 2 do
  instances[#instances + 1] = rows[n]
  instances[#instances + 1] = rows[n + 1]
  instances[#instances + 1] = redis.call('GET', K.instance(rows[n])) or ''
end
return {NOW, redis.call('ZCARD', K.beats()), redis.call('ZCOUNT', K.lost(), since, '+inf'), lost, instances}
